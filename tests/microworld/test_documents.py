"""Documents: their shares, what they must teach, and what they must not say."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from parley.microworld.documents import DOCUMENT_SHARES, document_shares, documents
from parley.microworld.language import GRAMMAR
from parley.microworld.lexicon import ATTRIBUTES
from parley.microworld.sums import sum_key
from parley.microworld.world import World, WorldConfig


def test_shares_are_the_trials(world: World) -> None:
    assert sum(DOCUMENT_SHARES.values()) == pytest.approx(100)
    trial = (32, 22, 12, 8, 8, 7, 6, 5)
    assert list(DOCUMENT_SHARES.values()) == [*(pytest.approx(0.94 * share) for share in trial), 6]
    sources = Counter(document.source for document in documents(world, 5000, 1))
    assert sources == {f"microworld:{kind}": round(50 * share) for kind, share in DOCUMENT_SHARES.items()}


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


LESSONS = {"copying": 0.1, "comparing": 0.15, "verifying": 0.2, "correcting": 0.15}


@pytest.fixture(scope="module")
def taught() -> World:
    return World.build(WorldConfig(**{f"share_{kind}": share for kind, share in LESSONS.items()}), 7)  # type: ignore[arg-type]


def test_teaching_documents_take_their_shares(world: World, taught: World) -> None:
    assert document_shares(world) == DOCUMENT_SHARES
    shares = document_shares(taught)
    assert sum(shares.values()) == pytest.approx(100)
    assert {kind: shares[kind] for kind in LESSONS} == {kind: 100 * share for kind, share in LESSONS.items()}
    for kind, share in DOCUMENT_SHARES.items():
        assert shares[kind] == pytest.approx(0.4 * share)
    sources = Counter(document.source for document in documents(taught, 1000, 1))
    assert all(abs(sources[f"microworld:{kind}"] - 10 * share) < 2 for kind, share in shares.items())


def test_teaching_documents_are_well_formed_and_true(taught: World) -> None:
    told = [d for d in documents(taught, 6000, 3) if d.source.split(":")[1] in LESSONS]
    words = [len(re.findall(r"\w+|[^\w\s]", document.text)) for document in told]
    assert 20 < sum(words) / len(words) < 34
    assert max(words) < 64
    for document in told:
        assert document.text[-1] in ".?"
        assert not re.search(r"[{}]|  |\.\.|\?\.| \.|\ba [aeiou]", document.text), document.text
        for one, other, verdict in re.findall(
            r"words (\w+) and (\w+) are (the same|not the same)", document.text
        ):
            assert (one == other) == (verdict == "the same")
        assert not set(re.findall(r"\w+", document.text)) & {"soap", "cloud", "spoon", *taught.unknown}
        for claim, fact, verdict in re.findall(r"false\? (.+?)\. (.+?)\. (True|False)\.", document.text):
            assert (claim.split(" ")[-1] == fact.split(" ")[-1]) == (verdict == "True"), document.text


def test_no_document_helps_to_say_that_one_does_not_know(world: World, taught: World) -> None:
    for some in (world, taught):
        text = "\n".join(document.text for document in documents(some, 5000, 9))
        assert "not know" not in text
        for fact in some.unstated("train") + some.unstated("test"):
            grammar = GRAMMAR[fact.attribute]
            for form in (*grammar.predicates, *grammar.infinitives):
                for value in some.values[fact.attribute]:
                    assert f"{fact.person} {form.format(v=value)}" not in text
                    assert f"{fact.person} does not {form.format(v=value)}" not in text


def test_sums_in_documents_are_right_and_the_stated_ones() -> None:
    world = World.build(WorldConfig(share_sums_in_documents=0.5), 2)
    told = [d.text for d in documents(world, 10000, 4) if d.source == "microworld:sum"]
    said = [
        tuple(map(int, found))
        for text in told
        for found in re.findall(r"(\d+) (?:plus|and) (\d+) (?:is|make) (\d+)", text)
    ]
    assert len(said) > 1000
    assert all(a + b == c for a, b, c in said)
    assert {sum_key(a, b) for a, b, _ in said} == world.stated_sums
    none = World.build(WorldConfig(share_sums_in_documents=0.0), 2)
    assert "sum" not in document_shares(none)


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
