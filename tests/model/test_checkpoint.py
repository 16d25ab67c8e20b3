"""Checkpoints: whole, readable by transformers, and clear about what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from parley.dialogue import dialogue
from parley.errors import ArtifactError
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder, causal_bias
from parley.model.render import ChatFormat, render_prompt
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan

from .conftest import MakeDecoder

CHAT = ChatFormat(name="Ada", identity="You are {name}.")


@pytest.fixture
def saved(make_decoder: MakeDecoder, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path, make_decoder(kv_heads=2), tokenizer, CHAT)
    return tmp_path


def _greedy(model: LoadedModel, prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        row = torch.tensor([tokens])
        hidden = model.decoder(row, torch.arange(len(tokens))[None], causal_bias(torch.ones_like(row)))
        tokens.append(int(model.decoder.logits(hidden[0, -1]).argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("tied", [True, False])
def test_transformers_says_the_same(
    make_decoder: MakeDecoder, tokenizer: Tokenizer, tmp_path: Path, tied: bool
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_checkpoint(tmp_path, make_decoder(kv_heads=2, tied=tied), tokenizer, CHAT)
    model = load_checkpoint(tmp_path, NumericPlan())
    prompt = render_prompt(dialogue(["Where does Mira live?"]), tokenizer, max_tokens=99)
    peer, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert peer.dtype == torch.float32
    found = peer.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), do_sample=False, temperature=None,
        max_new_tokens=24, eos_token_id=-1,
    )[0, len(prompt) :]  # fmt: skip
    ours = _greedy(model, prompt, 24)
    assert ours == found.tolist()
    assert model.tokenizer.decode(ours) == words.decode(found, skip_special_tokens=True)


def test_everything_comes_back(saved: Path, make_decoder: MakeDecoder, tokenizer: Tokenizer) -> None:
    model = load_checkpoint(saved, NumericPlan(linear="bfloat16"))
    assert model.chat_format == CHAT
    assert model.tokenizer.encode("Mira 😀") == tokenizer.encode("Mira 😀")
    assert model.decoder.linear_dtype == torch.bfloat16
    for one, other in zip(model.decoder.parameters(), make_decoder(kv_heads=2).parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shards_and_half_precision_are_read(saved: Path, dtype: torch.dtype) -> None:
    whole = saved / "model.safetensors"
    weights = {name: value.to(dtype) for name, value in load_file(whole).items()}
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, inside in shards.items():
        save_file({name: weights[name] for name in inside}, saved / file)
    places = {name: file for file, inside in shards.items() for name in inside}
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    whole.unlink()
    found = _native(load_checkpoint(saved, NumericPlan())).hf_weights
    assert all(torch.equal(found[name], weights[name].float()) for name in names)
    (saved / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"model-00002-of-00002.safetensors: cannot be read"):
        load_checkpoint(saved, NumericPlan())


def _native(model: LoadedModel) -> Decoder:
    assert isinstance(model.decoder, Decoder)
    return model.decoder


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _change_json(**changes: object) -> Callable[[Path], None]:
    return lambda path: _write(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _change_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        weights = load_file(path)
        change(weights)
        save_file(weights, path)

    return apply


@pytest.mark.parametrize(
    ("file", "harm", "told"),
    [
        ("config.json", Path.unlink, "config.json: cannot be read"),
        ("config.json", _truncate, "config.json: cannot be read"),
        ("config.json", _change_json(model_type="gpt_nox"), "transformers cannot load it"),
        ("config.json", _change_json(model_type="gpt_neox"), "weights do not fit config.json"),
        ("config.json", _change_json(vocab_size=100), "config.json: vocab_size 100 is smaller"),
        ("config.json", _change_json(hidden_size=32, head_dim=8), "config.json asks for"),
        ("config.json", _change_json(num_hidden_layers=3), "lacks model.layers.2"),
        ("config.json", _change_json(num_hidden_layers=1), "does not fit config.json: model.layers.1"),
        ("model.safetensors", Path.unlink, "model.safetensors: cannot be read"),
        ("model.safetensors", _truncate, "model.safetensors: cannot be read"),
        (
            "model.safetensors",
            _change_weights(lambda w: w.pop("model.norm.weight")),
            "lacks model.norm.weight",
        ),
        (
            "model.safetensors",
            _change_weights(lambda w: w.update({"model.norm.weight": torch.ones(64, dtype=torch.int8)})),
            "model.norm.weight is torch.int8",
        ),
        ("tokenizer.json", Path.unlink, "tokenizer.json: cannot be read"),
        ("tokenizer.json", _truncate, "tokenizer.json: is no tokenizer"),
        ("chat_format.json", _change_json(colour="red"), "chat_format.json: unknown key"),
    ],
)
def test_what_is_broken_is_named(saved: Path, file: str, harm: Callable[[Path], None], told: str) -> None:
    harm(saved / file)
    with pytest.raises(ArtifactError, match=told):
        load_checkpoint(saved, NumericPlan())


def test_pickles_are_never_opened(saved: Path, make_decoder: MakeDecoder) -> None:
    torch.save(make_decoder(kv_heads=2).hf_weights, saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"model.safetensors"):
        load_checkpoint(saved, NumericPlan())


def test_a_foreign_checkpoint_has_the_default_format(saved: Path) -> None:
    (saved / "chat_format.json").unlink()
    assert load_checkpoint(saved, NumericPlan()).chat_format == ChatFormat()


def test_a_tied_head_in_the_file_is_not_read_twice(saved: Path, make_decoder: MakeDecoder) -> None:
    weights = load_file(saved / "model.safetensors")
    save_file(
        weights | {"lm_head.weight": weights["model.embed_tokens.weight"].clone()},
        saved / "model.safetensors",
    )
    decoder = load_checkpoint(saved, NumericPlan()).decoder
    assert isinstance(decoder, Decoder)
    assert torch.equal(decoder.head_weight, make_decoder(kv_heads=2).embedding)
