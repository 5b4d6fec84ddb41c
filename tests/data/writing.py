"""Hand-written records as files of a data set."""

import gzip
import json

from jaxedit.data.datasets import load_facts


def write(tmp_path, records, name="set.json"):
    """The records as one JSON list, or as lines if the name says so; gzipped if it says so."""
    path = tmp_path / name
    lines = ".jsonl" in name
    text = "\n".join(map(json.dumps, records)) if lines else json.dumps(records)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def only(tmp_path, source, record):
    """The one fact of the one record."""
    (fact,) = load_facts(source, write(tmp_path, [record])).facts
    return fact


def case(tmp_path, source, record):
    """The one case of the one record."""
    (found,) = load_facts(source, write(tmp_path, [record])).cases
    return found


def reasons(tmp_path, source, *records):
    """Why records after a good one are skipped."""
    return [reason for _, reason in load_facts(source, write(tmp_path, records)).skipped]
