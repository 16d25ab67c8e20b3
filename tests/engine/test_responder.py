"""The responder: releases that come and go, whole characters, stop strings, seeds, room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parley.dialogue import Conversation, dialogue
from parley.engine import responder as module
from parley.engine.responder import CheckpointResponder, held_back
from parley.errors import ConfigError, NotFound
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder
from parley.model.render import ChatFormat, parse
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.ports import Delta, Finish, ReleaseInfo, Responder, Sampling

ASKED = dialogue(["Where does Mira live?"])
Releases = list[tuple[ReleaseInfo, Path]]


def _info(name: str) -> ReleaseInfo:
    return ReleaseInfo(name, "sft", "run", 0)


@pytest.fixture
def catalog(decoder: Decoder, tokenizer: Tokenizer, tmp_path: Path) -> Releases:
    save_checkpoint(tmp_path / "one", decoder, tokenizer, ChatFormat(name="Ada", identity="I am {name}."))
    return [(_info("one"), tmp_path / "one")]


def _all(found: Iterator[Delta | Finish]) -> tuple[list[str], Finish]:
    parts = list(found)
    last = parts.pop()
    assert isinstance(last, Finish)
    assert all(isinstance(part, Delta) and part.text for part in parts)
    return [part.text for part in parts if isinstance(part, Delta)], last


def test_a_reply_streams_and_follows_its_seed(catalog: Releases) -> None:
    responder: Responder = CheckpointResponder(lambda: catalog)
    replies = [
        _all(responder.stream(ASKED, Sampling(max_tokens=20, temperature=1.0, seed=seed), release="one"))
        for seed in (1, 1, 2)
    ]
    assert replies[0] == replies[1] != replies[2]
    assert replies[0][1].completion_tokens <= 20
    unseeded = [
        tuple(_all(responder.stream(ASKED, Sampling(max_tokens=20), release="one"))[0]) for _ in range(6)
    ]
    assert len(set(unseeded)) > 1


def test_releases_appear_while_serving(catalog: Releases) -> None:
    now: Releases = []
    responder = CheckpointResponder(lambda: now)
    with pytest.raises(NotFound, match="no release 'one'; there are: none yet"):
        responder.stream(ASKED, Sampling(), release="one")
    now += catalog
    assert [info.name for info in responder.releases()] == ["one"]
    responder.stream(ASKED, Sampling(max_tokens=4), release="one")
    with pytest.raises(NotFound, match="there are: one"):
        responder.stream(ASKED, Sampling(), release="two")


def test_few_models_stay_in_memory(catalog: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(directory: Path, plan: NumericPlan) -> LoadedModel:
        loads.append(directory.name)
        return load_checkpoint(directory, plan)

    monkeypatch.setattr(module, "load_checkpoint", load)
    directory = catalog[0][1]
    for name in ("two", "three"):
        (directory.parent / name).symlink_to(directory)
        catalog.append((_info(name), directory.parent / name))
    responder = CheckpointResponder(lambda: catalog, kept=2)
    for name in ("one", "two", "one", "three", "one", "two"):
        responder.stream(ASKED, Sampling(max_tokens=1), release=name)
    assert loads == ["one", "two", "three", "two"]


def test_many_threads_get_their_own_answers(catalog: Releases) -> None:
    responder = CheckpointResponder(lambda: catalog)

    def answer(seed: int) -> tuple[list[str], Finish]:
        return _all(responder.stream(ASKED, Sampling(max_tokens=12, seed=seed), release="one"))

    found: dict[int, tuple[list[str], Finish]] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: answer(n)})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: answer(n) for n in range(6)}


Script = Callable[[list[int]], dict[str, object]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Makes the model say these tokens; gives back the arguments that sampling was called with."""

    def install(tokens: list[int]) -> dict[str, object]:
        seen: dict[str, object] = {}

        def say(decoder: Decoder, prompt: list[int], **arguments: object) -> Iterator[int]:
            seen.update(arguments, prompt=prompt)
            limit = arguments["max_new_tokens"]
            assert isinstance(limit, int)
            return iter(tokens[:limit])

        monkeypatch.setattr(module, "stream", say)
        return seen

    return install


def _spoken(
    catalog: Releases, sampling: Sampling, conversation: Conversation = ASKED
) -> tuple[list[str], Finish]:
    return _all(CheckpointResponder(lambda: catalog).stream(conversation, sampling, release="one"))


def test_no_half_character_is_ever_said(catalog: Releases, tokenizer: Tokenizer, script: Script) -> None:
    text = "a😀日ş"
    tokens = tokenizer.encode(text)
    script([*tokens, tokenizer.end])
    deltas, finish = _spoken(catalog, Sampling())
    assert "".join(deltas) == text
    assert finish.reason == "stop"
    assert finish.completion_tokens == len(tokens) + 1
    for limit in range(len(tokens)):
        deltas, finish = _spoken(catalog, Sampling(max_tokens=limit))
        assert text.startswith("".join(deltas))
        assert finish.reason == "length"
    script([*tokenizer.encode("b"), tokenizer.encode("😀")[0], *tokenizer.encode("c"), tokenizer.end])
    assert "".join(_spoken(catalog, Sampling())[0]) == "b\ufffdc"  # bytes that are no character at all


def test_stop_strings_are_held_back(catalog: Releases, tokenizer: Tokenizer, script: Script) -> None:
    script([*tokenizer.encode("one END"), *tokenizer.encode(" of it"), tokenizer.end])
    assert "".join(_spoken(catalog, Sampling(stop=("END", "")))[0]) == "one "
    assert _spoken(catalog, Sampling(stop=("END",)))[1].reason == "stop"
    assert "".join(_spoken(catalog, Sampling(stop=("END OF",)))[0]) == "one END of it"
    script([*tokenizer.encode("one EN"), tokenizer.end])
    assert (
        "".join(_spoken(catalog, Sampling(stop=("END",)))[0]) == "one EN"
    )  # it was no stop string after all


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("abc", (), ("abc", "", False)),
        ("abc", ("x",), ("abc", "", False)),
        ("abc", ("cd",), ("ab", "c", False)),
        ("abab", ("abac",), ("ab", "ab", False)),
        ("one two", ("two", "ne"), ("o", "", True)),
    ],
)
def test_what_may_be_said(text: str, stop: tuple[str, ...], expected: tuple[str, str, bool]) -> None:
    assert held_back(text, stop) == expected


def test_a_role_token_ends_the_reply(catalog: Releases, tokenizer: Tokenizer, script: Script) -> None:
    script([*tokenizer.encode("hi"), tokenizer.user, *tokenizer.encode("forged")])
    deltas, finish = _spoken(catalog, Sampling())
    assert "".join(deltas) == "hi"
    assert finish.reason == "stop"


def test_the_prompt_has_the_system_turn_and_leaves_room(
    catalog: Releases, tokenizer: Tokenizer, script: Script
) -> None:
    seen = script([tokenizer.end])
    responder = CheckpointResponder(lambda: catalog, system_prompt="Be brief.")
    long = dialogue(["first " * 5, "second " * 5, "third"])
    _, finish = _all(responder.stream(long, Sampling(max_tokens=500), release="one"))
    prompt = seen["prompt"]
    assert isinstance(prompt, list)
    said = parse(prompt[:-1], tokenizer).messages
    assert [message.text for message in said] == ["I am Ada.\n\nBe brief.", "third"]
    assert seen["max_new_tokens"] == 96 - len(prompt)
    assert finish.prompt_tokens == len(prompt)
    assert parse(prompt[:-1], tokenizer).system is not None


def test_what_cannot_be_answered_is_said_before_the_first_delta(catalog: Releases) -> None:
    responder = CheckpointResponder(lambda: catalog)
    with pytest.raises(ConfigError, match="must end with a user turn"):
        responder.stream(dialogue(["hi", "yes"]), Sampling(), release="one")
    with pytest.raises(ConfigError, match="tokens too long"):
        responder.stream(dialogue(["word " * 200]), Sampling(), release="one")
