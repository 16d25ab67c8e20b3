"""A GGUF file, read back by others: transformers' reader gives the model's own weights, llama.cpp its tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from parley.cli import main
from parley.errors import ArtifactError
from parley.model.adoption import adopted_tokenizer
from parley.model.checkpoint import LoadedModel, load_model, save_checkpoint
from parley.model.gguf import export_gguf
from parley.model.render import ChatFormat
from tests.model.families import GROUPED, NATIVE, save_peer
from tests.model.vocabularies import save_kind
from tests.tiny import tiny_decoder, tiny_model, tiny_tokenizer

READ_BY_TRANSFORMERS = sorted(set(NATIVE) - {"gemma"})  # it has no gguf reader for the first Gemma


def of_family(directory: Path, name: str) -> tuple[LoadedModel, Any]:
    peer = save_peer(directory, name, tiny_tokenizer())
    return LoadedModel(load_model(directory), tiny_tokenizer(), ChatFormat(system_prompt="Be kind.")), peer


@pytest.mark.parametrize("family", READ_BY_TRANSFORMERS)
def test_transformers_reads_the_weights_of_every_family(tmp_path: Path, family: str) -> None:
    model, peer = of_family(tmp_path, family)
    export_gguf(model, tmp_path / "model.gguf", precision="f32", name="tiny")
    reader = peer
    if family == "mistral":  # llama.cpp calls it llama, and so must the model that transformers fills
        reader = LlamaForCausalLM(LlamaConfig(vocab_size=tiny_tokenizer().vocab_size, head_dim=16, **GROUPED))
    found = load_gguf_checkpoint(str(tmp_path / "model.gguf"), return_tensors=True, model_to_load=reader)
    wanted = peer.state_dict()
    assert set(found["tensors"]) | {"lm_head.weight"} == set(wanted) | {"lm_head.weight"}
    for name, value in found["tensors"].items():
        torch.testing.assert_close(torch.as_tensor(value), wanted[name], rtol=0, atol=1e-6, msg=name)
    config = found["config"]
    assert config["max_position_embeddings"] == 64
    assert config["num_key_value_heads"] == 2


def test_gemma_counts_its_gains_from_one(tmp_path: Path) -> None:
    model, peer = of_family(tmp_path, "gemma")
    export_gguf(model, tmp_path / "model.gguf", precision="f32", name="gemma")
    tensors = {one.name: one.data for one in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    theirs = peer.state_dict()["model.layers.1.input_layernorm.weight"]
    torch.testing.assert_close(torch.tensor(tensors["blk.1.attn_norm.weight"]), 1 + theirs)
    query = peer.state_dict()["model.layers.0.self_attn.q_proj.weight"]
    torch.testing.assert_close(torch.tensor(tensors["blk.0.attn_q.weight"]), query)


@pytest.mark.parametrize(("precision", "error"), [("bf16", 2**-8), ("f16", 2**-11), ("q8_0", 2**-7)])
def test_matrices_take_the_precision_and_gains_stay(tmp_path: Path, precision: Any, error: float) -> None:
    model = tiny_model()
    export_gguf(model, tmp_path / "model.gguf", precision=precision, name="tiny")
    found = {one.name: one for one in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    stored = found["blk.0.attn_output.weight"]
    assert stored.tensor_type.name == precision.upper()
    assert found["blk.0.attn_norm.weight"].tensor_type.name == "F32"
    back = torch.tensor(gguf.quants.dequantize(stored.data, stored.tensor_type))
    ours = model.decoder.state_dict()["layers.0.attention.out.weight"]
    assert (back - ours).abs().max() <= error * ours.abs().max()
    if precision == "q8_0":  # rows of 48 are not whole blocks
        assert found["blk.0.ffn_down.weight"].tensor_type.name == "F32"


def test_tokenizer_and_template_are_in_the_file(tmp_path: Path) -> None:
    model = replace(tiny_model(), chat_format=ChatFormat(identity="I am {name}."))
    export_gguf(model, tmp_path / "model.gguf", precision="f32", name="tiny")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    assert len(tokens) == model.tokenizer.vocab_size
    assert [tokens[n] for n, kind in enumerate(kinds) if kind == 3] == list(model.tokenizer.marks.all)
    assert fields["tokenizer.chat_template"].contents() == model.chat_format.jinja_template()
    assert fields["tokenizer.ggml.eos_token_id"].contents() == model.tokenizer.end
    assert fields["tokenizer.ggml.add_bos_token"].contents() is False


def test_rows_without_a_token_are_unused(tmp_path: Path) -> None:
    model = tiny_model()
    tokens = model.tokenizer.vocab_size
    model.decoder.resize(tokens + 3)
    export_gguf(model, tmp_path / "model.gguf", precision="f32", name="tiny")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert fields["tokenizer.ggml.token_type"].contents()[tokens:] == [5, 5, 5]


@pytest.mark.parametrize("kind", ["llama3", "unigram"])
def test_what_llama_cpp_has_no_words_for_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ArtifactError, match="does not know how this tokenizer splits|vocabularies of BPE"):
        export_gguf(of_kind(tmp_path, kind), tmp_path / "model.gguf", precision="f32", name="x")
    assert not list(tmp_path.glob("*gguf*"))


@pytest.mark.parametrize(("kind", "opens"), [("llama2", True), ("mistral", True), ("gemma", False)])
def test_sentence_pieces_are_joined_in_the_order_of_their_merges(
    tmp_path: Path, kind: str, opens: bool
) -> None:
    model = of_kind(tmp_path, kind)
    export_gguf(model, tmp_path / "model.gguf", precision="f32", name="x")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    tokens, scores = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores"))
    score = dict(zip(tokens, scores, strict=True))
    merges = ["".join(pair) for pair in model.tokenizer.definition["model"]["merges"]]
    firsts = list(dict.fromkeys(merges))
    assert [score[text] for text in firsts] == sorted((score[text] for text in firsts), reverse=True)
    assert fields["tokenizer.ggml.add_space_prefix"].contents() is opens
    assert fields["tokenizer.ggml.token_type"].contents()[tokens.index("<0x41>")] == 6


def test_the_command_writes_a_checkpoint_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model()
    save_checkpoint(tmp_path / "tiny", model.decoder, model.tokenizer, model.chat_format)
    words = ["model", "export", str(tmp_path / "tiny.gguf"), "--checkpoint", str(tmp_path / "tiny")]
    assert main([*words, "--format", "gguf", "--precision", "bf16", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["bytes"] == (tmp_path / "tiny.gguf").stat().st_size
    fields = gguf.GGUFReader(tmp_path / "tiny.gguf").fields
    assert fields["general.name"].contents() == "tiny"
    assert main([*words, "--format", "gguf"]) == 2
    assert "exists already" in capsys.readouterr().err


def of_kind(directory: Path, kind: str) -> LoadedModel:
    """A tiny model whose tokenizer is of somebody else's kind."""
    save_kind(directory, kind)
    tokenizer, _ = adopted_tokenizer(directory)
    decoder = tiny_decoder()
    decoder.resize(tokenizer.vocab_size)
    return LoadedModel(decoder, tokenizer, ChatFormat())
