#!/usr/bin/env bash
# The tests on a real Slurm, which they start on this machine and shut down again (as root):
#     apt-get install slurm-wlm munge && pip install -e ".[dev]" && tests/slurm/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
JAXEDIT_SLURM=1 exec "${PYTHON:-python3}" -m pytest tests/slurm "$@"
