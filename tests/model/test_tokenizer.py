"""Tokenizer: lossless, deterministic, and deaf to special tokens typed in a text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.errors import ArtifactError, DataError
from parley.model.tokenizer import SPECIALS, Tokenizer

from .conftest import TEXTS


@given(text=st.text())
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert tokenizer.decode(ids) == text
    assert not tokenizer.special_ids & set(ids)


def test_special_tokens_in_a_text_stay_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    for one in (tokenizer, Tokenizer.load(tmp_path)):  # the switch is not saved in the file
        for token in SPECIALS:
            for text in (token, f"a{token}b", token * 3, f" {token}\n"):
                assert not one.special_ids & set(one.encode(text))
                assert not one.special_ids & set(one.encode_batch([text])[0])
                assert one.decode(one.encode(text)) == text


def test_ids_decode_on_their_own(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode_bytes([tokenizer.user, *tokenizer.encode("ab"), tokenizer.end]) == b"ab"
    half = tokenizer.encode("😀")[:1]
    assert len(tokenizer.encode("😀")) > 1
    assert tokenizer.decode(half) == "\ufffd"
    assert {tokenizer.decode_bytes([n]) for n in range(tokenizer.vocab_size)} >= {
        bytes([n]) for n in range(256)
    }


def test_training_is_deterministic(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name in ("one", "other"):
        Tokenizer.train(iter(TEXTS * 3), 400).save(tmp_path / name)
    one, other = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "other"))
    assert one == other
    assert tokenizer.vocab_size <= 400
    assert tokenizer.pad != tokenizer.end  # P15
    assert [tokenizer.pad, tokenizer.end, tokenizer.system, tokenizer.user] == [0, 1, 2, 3]


def test_half_a_surrogate_pair_is_a_clear_error(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"character 1 is half of a surrogate pair \(U\+D83D\)"):
        tokenizer.encode("a\ud83d")


def test_files_at_fault_are_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"tokenizer.json: cannot be read"):
        Tokenizer.load(tmp_path)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:500], encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"tokenizer.json: is no tokenizer"):
        Tokenizer.load(tmp_path)
    path.write_text(whole.replace("<|assistant|>", "<|other|>"), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"lacks the special tokens <\|assistant\|>"):
        Tokenizer.load(tmp_path)


def test_padding_that_is_the_end_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """P15: masked as padding, the end of a turn would never be learnt."""
    tokenizer.save(tmp_path)
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("<|pad|>", "<|end|>"))
    with pytest.raises(ArtifactError, match=r"<\|end\|> is both the padding and the end.*another pad_token"):
        Tokenizer.load(tmp_path)
