"""Is D4S's change smaller than sequential MEMIT's? D4S's section 4.3.3, put to the test.

The paper argues: D4S multiplies the same sums by a smaller inverse, so its change has a smaller
norm. That is an intuition and no theorem; jaxedit/studies/norm_argument.py says when it fails, in
a few lines of algebra. Here: random instances, and keys and residuals of a model's own layers, all
taken on the unedited model as D4S takes them, with that model's statistics.

When D4S's norm is the larger: where keys overlap and their residuals differ, and the prior weighs
little against one edit (k^T (lambda C)^-1 k over about 2). One key edited again and again, or keys
that overlap with residuals that agree, is where the argument is right.

Found (12,000 random instances; 100 facts of the embedded GPT-J, layers 1 and 2): at random D4S's
is the larger in 32 % by L1 and 31 % by Frobenius, at worst 18 and 22 times: in 0 to 24 % of each
kind where k^T (lambda C)^-1 k is 1 or less, in 59 to 94 % where it is 10 or more, unless keys
overlap and residuals agree (2 to 13 %). The recorded keys hardly overlap (mean cosine .003), so
the two are close; with the model's own lambda of 100, where k^T (lambda C)^-1 k is 22 to 24, D4S's
L1 norm is 1.05 and 1.10 times MEMIT's by equation 12, and 1.08 and 1.13 times that of MEMIT with
residuals measured on the edited matrix. With 100 times that lambda it is .99 times in both layers,
with a hundredth of it 2.5 and 1.2 times. Here, then, D4S's change is not the smaller one for the
same keys and residuals.

    python runs/norm_argument.py --workdir=out/norm_argument

writes study.md, study.json and study.png. For a model of one's own add --model, --corpus (text
like its training text) and --facts (JSON lines).
"""

from absl import flags, logging

from jaxedit import cli
from jaxedit.data.factworld import SHOWN, World, edits
from jaxedit.data.jsonl import read_facts
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.d4s import D4S
from jaxedit.editors.resources import statistics
from jaxedit.editors.settings import settings_for
from jaxedit.models.loading import load_model
from jaxedit.statistics import choose_corpus
from jaxedit.studies.norm_argument import measure, record
from jaxedit.studies.norm_instances import try_all
from jaxedit.studies.norm_report import Study, text, write

_WORKDIR = flags.DEFINE_string("workdir", None, "directory for the results; made if need be")
_MODEL = flags.DEFINE_string("model", "embedded:gptj", "a directory, a hub id or embedded:NAME")
_CORPUS = flags.DEFINE_string("corpus", None, "a text file, a folder, 'embedded' or 'model'")
_FACTS = flags.DEFINE_string("facts", None, "JSON lines; by default from the embedded world")
_LIMIT = flags.DEFINE_integer("limit", 100, "facts whose keys and residuals are recorded")
_DRAWS = flags.DEFINE_integer("draws", 100, "random instances of each of 120 kinds")
_SEED = flags.DEFINE_integer("seed", 0, "of the random instances and of all that is sampled")


def main() -> None:
    workdir = cli.workdir_of(_WORKDIR)
    corpus = choose_corpus(_MODEL.value, _CORPUS.value, _SEED.value)
    corpus.check()
    limit = _LIMIT.value
    facts = read_facts(_FACTS.value)[:limit] if _FACTS.value else edits(World(), limit, SHOWN)
    lm = load_model(_MODEL.value)
    usual = settings_for(lm.config, lm.name, "d4s")
    moments = statistics(lm, usual["layers"], corpus).matrices
    editor = D4S(statistics=moments, contexts=sample_contexts(lm, _SEED.value), **usual)
    weight = editor.moment_weight
    recorded = tuple(measure(record(lm, editor, facts), weight))
    found = Study(lm.name, corpus.source, weight, try_all(_DRAWS.value, _SEED.value), recorded)
    paths = write(found, workdir)
    print(text(found))
    logging.info("written: %s", ", ".join(map(str, paths)))


if __name__ == "__main__":
    cli.run(main)
