"""D4S, Table 1 and section 3.2: one piece of knowledge as three kinds of question.

    python -m jaxedit.launch --batch=runs/d4s_table1.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_table1.py --out=out/runs

The paper turns triples of ATOMIC into direct questions (DG), multiple choice (MQ) and true or
false (T/F), and prints for the editing objectives perplexities of 12.3, 43.3 and 297.4 for direct,
choice and true-false "respectively", while it also says that direct generation harms most and that
a higher perplexity harms more: one of the two is the wrong way round. So it is computed here.
`python -m jaxedit.mqd` builds the data set itself from ATOMIC.
"""

from jaxedit.batches.batch import Batch
from jaxedit.data.datasets import load_facts
from jaxedit.errors import UserError
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at
from jaxedit.papers.readers import Found, Value, Where, unedited
from jaxedit.papers.tables import Row, Table

PERPLEXITY = unedited("perplexity", reading="per_target")
FORMS = {"DG": "direct generation", "MQ": "multiple choice", "T/F": "true or false"}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.questions(scale, seed)
    columns = ("PPL", "words of a prompt", "words of a target")
    rows = [
        Row({"form": name}, numbers(scale, form, made.where[form, "rome"]), example(scale, form))
        for form, name in FORMS.items()
    ]
    ppl = {form: at(name, PERPLEXITY, made.where[form, "rome"]) for form, name in FORMS.items()}
    return Batch(
        title="D4S, Table 1: one piece of knowledge, three kinds of question",
        about="The same knowledge, asked for directly, with four options, and as true or false.",
        runs=made.runs,
        tables=(
            Table(
                "Editing objectives of three kinds",
                dict.fromkeys(columns, PERPLEXITY),
                rows,
                note="PPL: equation 1, of the target given its prompt, before any edit; mean over "
                "facts, which rare words dominate. The paper prints 12.3, 43.3 and 297.4.",
                unit="",
            ),
        ),
        claims=(
            Claim(
                "The objective of direct generation has the highest perplexity "
                "(as the paper's argument needs; its list of numbers says the lowest).",
                "D4S, sections 3.2 and 3.3",
                above(ppl["DG"], ppl["T/F"]),
            ),
        ),
    )


def numbers(scale: str, form: str, where: Where):
    def read(found: Found) -> dict[str, Value | None]:
        prompts, targets = words(scale, form)
        return {
            "PPL": PERPLEXITY(found, where),
            "words of a prompt": prompts,
            "words of a target": targets,
        }

    return read


def words(scale: str, form: str) -> tuple[Value | None, Value | None]:
    try:
        facts = drawn(scale, form)
    except UserError:
        return None, None
    means = (
        sum(len(text.split()) for text in texts) / len(facts)
        for texts in ([fact.question for fact in facts], [fact.target for fact in facts])
    )
    first, second = (Value(mean, n=len(facts), share=False) for mean in means)
    return first, second


def example(scale: str, form: str) -> str:
    try:
        fact = drawn(scale, form)[0]
    except UserError:
        return "its file is not here"
    return f"{fact.question} → {fact.target}"


def drawn(scale: str, form: str):
    data = d4s.DATA[scale][form]
    return load_facts(data.source, data.path, limit=d4s.QUESTIONS[scale], seed=1).facts
