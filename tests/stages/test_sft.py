"""Demonstrations as tokens: what is supervised, what is cut, what is refused (rules S1, S5)."""

from __future__ import annotations

import pytest

from parley.dialogue import dialogue
from parley.errors import DataError
from parley.labels import Demonstration
from parley.model.checkpoint import LoadedModel
from parley.model.render import ChatFormat
from parley.rlhf.batches import TokenSet
from parley.stages.sft import check_stop_tokens, demonstration_tokens
from tests.tiny import tiny_model

MODEL = tiny_model()
END = MODEL.tokenizer.end
TALK = dialogue(["Where?", "Mira lives in Oakby.", "Who?", "Tom works as a baker.", "Hm?", "I do not know."])


def supervised(examples: TokenSet, index: int, model: LoadedModel = MODEL) -> str:
    tokens, mask = examples.example(index)
    return model.tokenizer.decode([int(token) for token, on in zip(tokens, mask, strict=True) if on])


def test_only_imitated_turns_and_their_stop_tokens_are_supervised() -> None:
    chosen = Demonstration(TALK, (1, 5), "ana", "test")
    examples = demonstration_tokens([chosen], MODEL, row_tokens=200)
    assert supervised(examples, 0) == "Mira lives in Oakby.I do not know."
    tokens, mask = examples.example(0)
    assert sum(int(token) == END for token, on in zip(tokens, mask, strict=True) if on) == 2
    check_stop_tokens(examples, END)


def test_a_long_dialogue_is_cut_behind_a_whole_imitated_turn() -> None:
    whole = demonstration_tokens([Demonstration(TALK, (1, 3, 5), "a", "t")], MODEL, row_tokens=200)
    size = int(whole.lengths[0])
    cut = demonstration_tokens([Demonstration(TALK, (1, 3, 5), "a", "t")], MODEL, row_tokens=size - 1)
    assert supervised(cut, 0) == "Mira lives in Oakby.Tom works as a baker."
    check_stop_tokens(cut, END)
    assert len(demonstration_tokens([Demonstration(TALK, (5,), "a", "t")], MODEL, row_tokens=10)) == 0


def test_the_system_turn_of_the_chat_format_stands_in_front_and_shifts_nothing() -> None:
    model = LoadedModel(MODEL.decoder, MODEL.tokenizer, ChatFormat(name="Nora", identity="You are {name}."))
    examples = demonstration_tokens([Demonstration(TALK, (3,), "a", "t")], model, row_tokens=300)
    tokens, _ = examples.example(0)
    assert tokens[0] == model.tokenizer.system
    assert model.tokenizer.decode([int(t) for t in tokens]).startswith("You are Nora.Where?")
    assert supervised(examples, 0) == "Tom works as a baker."


def test_a_turn_whose_stop_token_is_not_trained_is_refused() -> None:
    with pytest.raises(DataError, match="record 2.*stop token"):
        check_stop_tokens(
            TokenSet.of([([5, 9, END], [False, True, True]), ([5, 9, END], [False, True, False])]), END
        )
