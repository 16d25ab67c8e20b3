"""Other programs' tokenizers: transformers' ids, exact bytes, no forged tokens, our chat format."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import tokenizers
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tokenizers import decoders, models
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, MistralConfig

from parley.dialogue import dialogue
from parley.errors import ArtifactError
from parley.model.adoption import START_WORDS, adopted_tokenizer, make_room
from parley.model.checkpoint import load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.render import ChatFormat, parse, render, render_document, render_prompt, with_system
from parley.model.tokenizer import ASSISTANT, Tokenizer
from parley.numerics import NumericPlan

from .families import GROUPED, random_peer
from .vocabularies import KINDS, OWN, save_kind

DATA = Path(__file__).parents[3] / "shared" / "data" / "gpt2-bpe"
SPACED = ("llama2", "mistral", "unigram")  # open a text with a space of their own
every_kind = pytest.mark.parametrize("kind", KINDS)
texts = st.text() | st.text("ab T.oh<s>/|'▁ \n\té😀", max_size=30) | st.sampled_from(["", " ", "  a", "\n"])


@cache
def folder(kind: str) -> Path:
    path = Path(mkdtemp())
    save_kind(path, kind)
    return path


@cache
def adopted(kind: str) -> Tokenizer:
    return adopted_tokenizer(folder(kind))[0]


@cache
def peer(path: Path) -> Any:
    return AutoTokenizer.from_pretrained(path)


@every_kind
@given(text=texts)
def test_ids_are_those_of_transformers(kind: str, text: str) -> None:
    tokenizer = adopted(kind)
    assume(not any(special in text for special in (*OWN[kind].values(), *tokenizer.marks.all)))
    expected = peer(folder(kind))(text, add_special_tokens=False).input_ids
    assert tokenizer.encode(text) == tokenizer.encode_batch([text])[0] == expected


@every_kind
@given(text=texts)
def test_every_text_comes_back(kind: str, text: str) -> None:
    assume("▁" not in text and not (kind in ("mistral", "unigram") and text.startswith(" ")))
    tokenizer = adopted(kind)
    ids = tokenizer.encode(text)
    assert tokenizer.decode_bytes(ids) == text.encode()
    one_by_one = b"".join(tokenizer.decode_bytes([n], opens=i == 0) for i, n in enumerate(ids))
    assert one_by_one == text.encode()  # as replies are streamed


@every_kind
@given(text=st.text("a b", max_size=9), special=st.data())
def test_nobody_can_type_a_special_token(kind: str, text: str, special: st.DataObject) -> None:
    tokenizer = adopted(kind)
    token = special.draw(st.sampled_from([*OWN[kind].values(), *tokenizer.marks.all]))
    for forged in (token, f"a{token}b{text}", token * 2, f"{text}{token}\n"):
        ids = tokenizer.encode(forged)
        assert not tokenizer.special_ids & set(ids)
        assert not tokenizer.special_ids & set(tokenizer.encode_batch([forged])[0])
        if kind not in ("mistral", "unigram") or not forged.startswith(" "):
            assert tokenizer.decode(ids) == forged


@every_kind
def test_the_tokens_of_the_format_are_its_own_or_added(kind: str) -> None:
    tokenizer, before = adopted_tokenizer(folder(kind))
    own = OWN[kind]
    assert tokenizer.marks.end == own["eos_token"]
    assert tokenizer.marks.document == own["bos_token"]
    assert tokenizer.marks.pad == "<|pad|>"  # theirs is the end or the unknown token, or there is none (P15)
    assert [tokenizer.pad, tokenizer.system, tokenizer.user, tokenizer.assistant] == list(
        range(before, before + 4)
    )
    assert tokenizer.vocab_size == before + 4
    assert tokenizer.pad not in (tokenizer.end, tokenizer.document)


def test_a_padding_token_of_its_own_and_roles_of_our_names_are_kept(tmp_path: Path) -> None:
    save_kind(tmp_path, "gpt2")
    inner = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    inner.add_special_tokens(["<|user|>", "<|assistant|>", "<pad>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    settings = {"eos_token": {"content": "<|endoftext|>"}, "pad_token": "<pad>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    tokenizer, before = adopted_tokenizer(tmp_path)
    assert tokenizer.marks.pad == "<pad>"
    assert (tokenizer.user, tokenizer.assistant, tokenizer.system) == (before - 3, before - 2, before)


@every_kind
def test_a_saved_tokenizer_renders_as_the_chat_template_in_transformers(kind: str, tmp_path: Path) -> None:
    tokenizer, chat = adopted(kind), ChatFormat(name="Ada", identity="You are {name}.")
    tokenizer.save(tmp_path, chat_template=chat.jinja_template(tokenizer.marks.end))
    again = Tokenizer.load(tmp_path)
    assert again.marks == tokenizer.marks
    assert again.digest == tokenizer.digest
    talk = dialogue(["Where does Mira live?", "Mira lives in Oakby.", "And Tom? çığ 😀"])
    ids = render_prompt(with_system(talk, chat.system_text), again, max_tokens=999)
    messages = [{"role": m.role, "content": m.text} for m in talk.messages]
    told = peer(tmp_path).apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert told == ids
    assert peer(tmp_path).eos_token_id == tokenizer.end
    assert peer(tmp_path).pad_token_id == tokenizer.pad


@every_kind
def test_turns_come_back_from_their_tokens(kind: str) -> None:
    talk = dialogue(["What <|assistant|> is </s> that?", "That is <|endoftext|> a goat."])
    found = parse(render(talk, adopted(kind)).tokens, adopted(kind))
    assert [m.text for m in found.messages] == [m.text for m in talk.messages]


def test_documents_open_and_end_as_the_model_is_used_to() -> None:
    tokens = render_document("Tom has a goat.", adopted("llama3")).tokens
    told = peer(folder("llama3"))("Tom has a goat.").input_ids
    assert list(tokens) == [*told, adopted("llama3").end]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("padding", [0, 13])
def test_added_rows_start_from_words_like_them(tied: bool, padding: int) -> None:
    tokenizer, before = adopted_tokenizer(folder("llama2"))
    shape = DecoderConfig(
        vocab_size=before + padding, width=16, layers=1, heads=2, kv_heads=2, mlp_width=16, tied=tied
    )
    model = Decoder(shape).initialise(torch.Generator().manual_seed(1))
    old = {id(m): m.detach().clone() for m in (model.input_weight, model.head_weight)}
    make_room(model, tokenizer, before, START_WORDS)
    assert model.config.vocab_size == tokenizer.vocab_size
    for matrix, was in zip((model.input_weight, model.head_weight), list(old.values()) * 2, strict=False):
        assert torch.equal(matrix[:before], was[:before])
        words = {tokenizer.user: "Question:", tokenizer.assistant: "Answer:", tokenizer.system: "System:"}
        for token, word in words.items():
            torch.testing.assert_close(matrix[token], was[tokenizer.encode(word)].mean(0))
        torch.testing.assert_close(matrix[tokenizer.pad], was[:before].mean(0))


def test_a_whole_model_of_others_opens_and_is_saved_as_ours(tmp_path: Path) -> None:
    save_kind(tmp_path, "mistral")
    _, before = adopted_tokenizer(tmp_path)
    random_peer(MistralConfig(vocab_size=before + 7, **GROUPED)).save_pretrained(tmp_path)
    model = load_checkpoint(tmp_path, NumericPlan())
    assert model.decoder.config.vocab_size == model.tokenizer.vocab_size == before + 4
    save_checkpoint(tmp_path / "ours", model.decoder, model.tokenizer, model.chat_format)
    again = load_checkpoint(tmp_path / "ours", NumericPlan())
    assert torch.equal(again.decoder.input_weight, model.decoder.input_weight)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    assert opened.config.vocab_size == before + 4
    assert opened.config.eos_token_id == model.tokenizer.end
    tokens = render_prompt(dialogue(["Hello"]), model.tokenizer, max_tokens=50)
    assert ASSISTANT in peer(tmp_path / "ours").decode(tokens)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
def test_gpt2s_real_vocabulary() -> None:
    tokenizer, before = adopted_tokenizer(DATA)
    assert before == 50257
    assert tokenizer.encode("Hello") == [15496]
    assert tokenizer.encode(" world") == [995]
    assert tokenizer.encode("Hello world") == [15496, 995]
    assert tokenizer.end == tokenizer.document == 50256
    assert (tokenizer.pad, tokenizer.system, tokenizer.user, tokenizer.assistant) == (
        50257,
        50258,
        50259,
        50260,
    )
    assert tokenizer.decode([15496, 995, 50256]) == "Hello world"
    assert 50256 not in tokenizer.encode("<|endoftext|>")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.unlink(), "has no tokenizer.json, nor vocab.json with merges.txt"),
        (lambda path: path.write_text("{}", encoding="utf-8"), "tokenizer.json: is no tokenizer"),
        (lambda path: _word_pieces().save(str(path)), "neither byte-level BPE nor SentencePiece"),
    ],
)
def test_what_is_no_tokenizer_of_a_supported_kind_is_named(tmp_path: Path, harm: Any, told: str) -> None:
    save_kind(tmp_path, "gpt2")
    harm(tmp_path / "tokenizer.json")
    with pytest.raises(ArtifactError, match=told):
        adopted_tokenizer(tmp_path)


def _word_pieces() -> tokenizers.Tokenizer:
    inner = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    inner.decoder = decoders.WordPiece()
    return inner


def test_a_tokenizer_larger_than_its_model_is_named(tmp_path: Path) -> None:
    save_kind(tmp_path, "llama2")
    random_peer(LlamaConfig(vocab_size=50, **GROUPED)).save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match="vocab_size 50 is smaller than the tokenizer's"):
        load_checkpoint(tmp_path, NumericPlan())
