"""How many tokens are enough for the statistics of locate-then-edit methods?

ROME and MEMIT (Meng et al. 2022a, 2022b) take 100,000 Wikipedia documents, hours of work for a
large model, and no source says why. This measures, against the number of tokens N, the error of
C itself, of the update that is solved with it, and of the objective which that update minimises.

Expected: the error of C falls as 1/sqrt(N). Below N = d_ff the matrix is singular and the update
is arbitrary. The objective, being at its minimum, suffers only with the square of the error.

    python runs/statistics_tokens.py --workdir=out/statistics_tokens

writes study.md, study.json and study.png. For a model of one's own add --model, --corpus (text
like its training text) and --facts (JSON lines).
"""

from absl import flags, logging

from jaxedit import cli
from jaxedit.data.factworld import TUNING, World, edits
from jaxedit.data.jsonl import read_facts
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.settings import settings_for
from jaxedit.models.loading import load_model
from jaxedit.statistics import choose_corpus
from jaxedit.studies.statistics_tokens import WIDTHS, study
from jaxedit.studies.tokens_report import table, write

_WORKDIR = flags.DEFINE_string("workdir", None, "directory for the results; made if need be")
_MODEL = flags.DEFINE_string("model", "embedded:gptj", "a directory, a hub id or embedded:NAME")
_CORPUS = flags.DEFINE_string("corpus", None, "a text file, a folder, 'embedded' or 'model'")
_FACTS = flags.DEFINE_string("facts", None, "JSON lines; by default from the embedded world")
_LIMIT = flags.DEFINE_integer("limit", 100, "facts edited together")
_MOST = flags.DEFINE_float("most", WIDTHS[-1], "the most tokens, in units of d_ff")


def main() -> None:
    workdir = cli.workdir_of(_WORKDIR)
    corpus = choose_corpus(_MODEL.value, _CORPUS.value, seed=0)
    corpus.check()
    limit = _LIMIT.value
    facts = read_facts(_FACTS.value)[:limit] if _FACTS.value else edits(World(), limit, TUNING)
    lm = load_model(_MODEL.value)
    usual = settings_for(lm.config, lm.name, "memit")
    found = study(
        lm,
        usual["layers"],
        facts,
        corpus.texts(lm),
        sample_contexts(lm, 0),
        moment_weight=usual["moment_weight"],
        values=usual["values"],
        widths=[width for width in WIDTHS if width < _MOST.value] + [_MOST.value],
        corpus=corpus.source,
    )
    paths = write(found, workdir)
    print(table(found))
    logging.info("written: %s", ", ".join(map(str, paths)))


if __name__ == "__main__":
    cli.run(main)
