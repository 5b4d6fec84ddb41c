# Everything from a bare machine with Python 3.11 or 3.12: `make quickstart`, `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= dev
comma := ,
# A process a core, a file in one of them: compiling, which takes most of the time, is one thread's.
PARALLEL := --numprocesses=auto --dist=loadfile
INSTALLED := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))

# Of `make tables`: batch files, seeds, and how many runs at a time, each on its share of the cores.
TABLES ?= runs/d4s_table*.py,runs/d4s_figure*.py,runs/d4s_causes.py,runs/onceedit_table*.py,runs/onceedit_figure*.py,runs/onceedit_prompts.py,runs/ablation_*.py
SEEDS ?= 0
SLOTS ?= $(shell getconf _NPROCESSORS_ONLN)
BATCHES := --batch='$(TABLES)' --scale=tiny --seeds=$(SEEDS) --out=out/tables

.PHONY: quickstart tables test test-all test-slurm lint clean

# A third of so short a run is compilation; less optimised programs save more than they cost.
quickstart: $(INSTALLED)
	XLA_FLAGS=--xla_backend_optimization_level=1 \
	$(BIN)/python -m jaxedit.run --config=configs/quickstart.py --workdir=out/quickstart

# Every table and figure of both papers on the embedded models; given again, it does what is left.
# The report is written even if a run failed, which launch says by ending with 1.
tables: $(INSTALLED)
	$(BIN)/python -m jaxedit.launch $(BATCHES) --slots=$(SLOTS) --gpus=0; code=$$?; \
	test $$code -le 1 && $(BIN)/python -m jaxedit.report $(BATCHES) && exit $$code

test: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-all: $(INSTALLED)
	$(BIN)/python -m pytest $(PARALLEL)

# Starts a Slurm of its own: Debian's slurm-wlm and munge, as root.
test-slurm: $(INSTALLED)
	PYTHON=$(BIN)/python tests/slurm/run.sh

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info
