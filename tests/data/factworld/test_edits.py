from jaxedit.data.factworld import SHOWN, TUNING, World, edits, unrelated

WORLD = World(0)


def test_unrelated_sentences_touch_no_edit():
    texts = unrelated(WORLD, 60)
    assert texts == unrelated(WORLD, 60) and len(texts) == 60
    edited = {
        f"{phrasing.replace('{}', fact.subject)} {fact.previous}"
        for seed in (TUNING, SHOWN)
        for fact in edits(WORLD, 300, seed)
        for phrasing in (fact.prompt, *fact.paraphrases)
    }
    assert not edited & set(texts)
    known = {fact.subject for fact in WORLD.facts}
    about = [any(subject in text for subject in known) for text in texts]
    assert all(about[::2]) and not all(about[1::2])
