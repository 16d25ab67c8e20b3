"""Documents: their shares, what they must teach, and what they must not say."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from parley.microworld.documents import DOCUMENT_SHARES, documents
from parley.microworld.lexicon import ATTRIBUTES
from parley.microworld.world import World, WorldConfig


def test_shares_are_the_trials(world: World) -> None:
    assert sum(DOCUMENT_SHARES.values()) == 100
    sources = Counter(document.source for document in documents(world, 1000, 1))
    assert sources == {f"microworld:{kind}": 10 * share for kind, share in DOCUMENT_SHARES.items()}


def test_a_prefix_does_not_depend_on_the_number(world: World) -> None:
    assert list(documents(world, 50, 1)) == list(documents(world, 90, 1))[:50]


def test_length_and_variety(world: World) -> None:
    texts = [document.text for document in documents(world, 4000, 2)]
    words = [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]
    assert 22 < sum(words) / len(words) < 32
    assert max(words) < 64
    assert len(set(texts)) > 0.9 * len(texts)


def test_sentences_are_well_formed(world: World) -> None:
    for document in documents(world, 6000, 3):
        assert document.text == document.text.strip()
        assert document.text[-1] in ".?"
        assert not re.search(r"[{}]|  |\.\.|\?\.| \.", document.text), document.text
        assert not re.search(r"\ba [aeiou]", document.text), document.text


def test_asking_back_is_a_seventh_of_the_forum(world: World) -> None:
    forum = [d.text for d in documents(world, 12000, 4) if d.source == "microworld:forum"]
    asked = sum("Which" in text and "do you mean?" in text for text in forum)
    assert abs(asked / len(forum) - 0.15) < 0.03


def test_documents_leave_out_what_is_not_in_pretraining() -> None:
    world = World.build(WorldConfig(share_in_pretraining=0.5), 2)
    text = "\n".join(document.text for document in documents(world, 6000, 5))
    absent = [key for key in world.facts if key not in world.pretrained and key[1] == "town"]
    assert len(absent) > 20
    for name, attribute in absent:
        for form in ("lives in", "has a house in", "has a home in", "is at home in"):
            assert f"{name} {form} {world.value(name, attribute)}" not in text


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_value_is_explained_somewhere(world: World, attribute: str) -> None:
    text = "\n".join(d.text for d in documents(world, 6000, 6) if d.source == "microworld:reason")
    for value in world.values[attribute]:  # type: ignore[index]
        assert re.search(rf"{value} because ", text), value
