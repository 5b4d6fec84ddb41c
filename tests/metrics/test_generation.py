import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxedit.metrics.generation import gives, mentions, normalise


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (" Paris", "Paris"),
        (" paris.\nThe", "Paris"),
        (" Paris. It lies on the Seine.", "Paris"),
        (" St. Louis. It lies", "St. Louis"),
        (" St Louis", "St. Louis"),
        (" the U.S.", "US"),
        (" THE BEATLES!", "Beatles"),
        ("\nParis", "Paris"),
        (" Ｐａｒｉｓ", "Paris"),
        (" The", "The"),
    ],
)
def test_exact(text, target):
    assert gives(text, target)
    assert mentions(text, target)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        (" Paris, France", "Paris"),
        (" in Paris", "Paris"),
        (" Parisian", "Paris"),
        ("", "Paris"),
        (" St. Paul", "St. Louis"),
        (" 19981", "1998"),
        (" a", "The"),
    ],
)
def test_not_exact(text, target):
    assert not gives(text, target)


def test_containment_is_of_whole_words():
    assert mentions(" It is Paris, in France", "Paris")
    assert mentions(" It is in New York City", "New York")
    assert not mentions(" Parisian", "Paris")
    assert not mentions(" 19981", "1998")
    assert not mentions("", "Paris")


@given(st.text())
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


@given(st.text(min_size=1).filter(lambda t: t.strip()), st.text())
def test_what_is_given_is_mentioned(target, tail):
    assert gives(target, target)
    assert mentions(target, target)
    if gives(tail, target):
        assert mentions(tail, target)
