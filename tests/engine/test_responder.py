"""The responder: releases that come and go, whole characters, stop strings, seeds, room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from parley.dialogue import dialogue
from parley.engine import responder as module
from parley.engine.packed import PackedRunner
from parley.engine.requests import Ended, Request, Token
from parley.engine.responder import CheckpointResponder
from parley.engine.sampler import complete, sample
from parley.engine.speech import Speech, Words, held_back
from parley.errors import ConfigError, NotFound
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder
from parley.model.render import ChatFormat, render_prompt, with_system
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


def _spoken(tokens: list[int], tokenizer: Tokenizer, *stop: str) -> tuple[list[str], Finish]:
    """What is said of a reply of these tokens; the engine stops where a sink or a special token says so."""
    words = Words()
    speech, count, reason = Speech(tokenizer, stop, words.hear), 0, "length"
    for token in tokens:
        count += 1
        if speech.take(Token(token)) or token in tokenizer.special_ids:
            reason = "stop"
            break
    speech.end(Ended("stop" if reason == "stop" else "length", 7, 0, count, (0, 0)))
    return _all(words)


def test_no_half_character_is_ever_said(tokenizer: Tokenizer) -> None:
    text = "a😀日ş"
    tokens = tokenizer.encode(text)
    deltas, finish = _spoken([*tokens, tokenizer.end], tokenizer)
    assert "".join(deltas) == text
    assert finish == Finish("stop", 7, len(tokens) + 1)
    for limit in range(len(tokens)):
        deltas, finish = _spoken(tokens[:limit], tokenizer)
        assert text.startswith("".join(deltas))
        assert finish.reason == "length"
    broken = [*tokenizer.encode("b"), tokenizer.encode("😀")[0], *tokenizer.encode("c"), tokenizer.end]
    assert "".join(_spoken(broken, tokenizer)[0]) == "b\ufffdc"  # bytes that are no character at all


def test_stop_strings_are_held_back(tokenizer: Tokenizer) -> None:
    first, rest = tokenizer.encode("one END"), tokenizer.encode(" of it")
    deltas, finish = _spoken([*first, *rest, tokenizer.end], tokenizer, "END", "")
    assert ("".join(deltas), finish.reason, finish.completion_tokens) == ("one ", "stop", len(first))
    assert "".join(_spoken([*first, *rest, tokenizer.end], tokenizer, "END OF")[0]) == "one END of it"
    cut = [*tokenizer.encode("one EN"), tokenizer.end]
    assert "".join(_spoken(cut, tokenizer, "END")[0]) == "one EN"  # it was no stop string after all


def test_a_stop_string_ends_the_work(catalog: Releases) -> None:
    responder = CheckpointResponder(lambda: catalog)
    whole, _ = _all(responder.stream(ASKED, Sampling(max_tokens=40, seed=1), release="one"))
    word = "".join(whole)[3:6]
    deltas, finish = _all(
        responder.stream(ASKED, Sampling(max_tokens=40, seed=1, stop=(word,)), release="one")
    )
    assert "".join(deltas) == "".join(whole)[: "".join(whole).index(word)]
    assert finish.reason == "stop"
    assert finish.completion_tokens < 40


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


def test_a_role_token_ends_the_reply(tokenizer: Tokenizer) -> None:
    tokens = [*tokenizer.encode("hi"), tokenizer.user, *tokenizer.encode("forged")]
    deltas, finish = _spoken(tokens, tokenizer)
    assert "".join(deltas) == "hi"
    assert finish.reason == "stop"


def test_the_prompt_has_the_system_turn_and_leaves_room(
    catalog: Releases, tokenizer: Tokenizer, decoder: Decoder
) -> None:
    responder = CheckpointResponder(lambda: catalog, system_prompt="Be brief.")
    long = dialogue(["first " * 5, "second " * 5, "third"])
    deltas, finish = _all(responder.stream(long, Sampling(max_tokens=500, temperature=0), release="one"))
    expected = with_system(dialogue(["third"]), "I am Ada.\n\nBe brief.")
    prompt = render_prompt(expected, tokenizer, max_tokens=96)
    (done,) = sample(
        decoder,
        [prompt],
        max_new_tokens=96 - len(prompt),
        temperature=0.0,
        end_id=tokenizer.end,
        generator=torch.Generator(),
    )
    said, _ = _spoken(list(done.tokens), tokenizer)
    assert "".join(deltas) == "".join(said)
    assert finish.prompt_tokens == len(prompt)


def test_a_reply_that_nobody_reads_is_stopped(catalog: Releases) -> None:
    responder = CheckpointResponder(lambda: catalog)
    unread = responder.stream(ASKED, Sampling(max_tokens=60), release="one")
    assert isinstance(unread, Words)
    unread.close()
    unread.close()
    assert list(unread) == []
    responder.close()
    assert list(responder.stream(ASKED, Sampling(max_tokens=2), release="one"))  # it loads again


def test_what_is_served_is_what_rollouts_draw(
    catalog: Releases, tokenizer: Tokenizer, decoder: Decoder
) -> None:
    """One engine: the same weights, prompt and seed give the same text to a person and to PPO."""
    prompt = tuple(render_prompt(with_system(ASKED, "I am Ada."), tokenizer, max_tokens=96))
    request = Request(prompt=prompt, max_new_tokens=20, seed=9, stop_ids=tokenizer.special_ids)
    filler = [replace(request, prompt=(5,) * n, seed=n) for n in range(1, 9)]
    rolled = complete(PackedRunner(decoder, exact=True), [*filler, request], batch_size=4)[-1]
    responder = CheckpointResponder(lambda: catalog)
    deltas, finish = _all(
        responder.stream(ASKED, Sampling(max_tokens=20, temperature=1.0, seed=9), release="one")
    )
    assert "".join(deltas) == "".join(_spoken(list(rolled.tokens), tokenizer)[0])
    assert finish.completion_tokens == len(rolled.tokens)


def test_what_cannot_be_answered_is_said_before_the_first_delta(catalog: Releases) -> None:
    responder = CheckpointResponder(lambda: catalog)
    with pytest.raises(ConfigError, match="must end with a user turn"):
        responder.stream(dialogue(["hi", "yes"]), Sampling(), release="one")
    with pytest.raises(ConfigError, match="tokens too long"):
        responder.stream(dialogue(["word " * 200]), Sampling(), release="one")
