"""Every family of models: transformers' logits and words, packed, padded, cached, trained and saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from parley.engine.sampler import sample
from parley.errors import ArtifactError
from parley.model.checkpoint import LoadedModel, empty_model, load_checkpoint, save_checkpoint
from parley.model.decoder import Decoder, causal_bias
from parley.model.language_model import LanguageModel
from parley.model.tokenizer import Tokenizer
from parley.model.weights import read_json
from parley.numerics import AttentionPath, NumericPlan
from parley.rlhf.loop import adam, descend, set_rate

from .families import FAMILIES, NATIVE, OTHERS, WINDOWED, random_peer, save_peer

EXACT = 1e-5  # of the largest logit
REFUSED = [
    ("bloom", "states no attention heads, width or context"),
    ("gemma2", "final_logit_softcapping is not built here"),
    ("phi", "logits are not hidden states times one matrix"),
]
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def saved(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Each family's directory, and the model that transformers wrote there."""
    folders = {name: tmp_path_factory.mktemp(name) for name in FAMILIES}
    return {name: (folder, save_peer(folder, name, tokenizer)) for name, folder in folders.items()}


Saved = dict[str, tuple[Path, Any]]


def load(saved: Saved, family: str, attention: AttentionPath = "explicit") -> LoadedModel:
    return load_checkpoint(saved[family][0], NumericPlan(attention=attention))


def random_tokens(*shape: int, vocab: int = 300, seed: int = 1) -> Tensor:
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def assert_close(found: Tensor, expected: Tensor, tolerance: float = EXACT) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


@every_family
def test_our_own_decoder_runs_what_it_covers(saved: Saved, family: str) -> None:
    assert isinstance(load(saved, family).decoder, Decoder) == (family in NATIVE)


@every_family
@pytest.mark.parametrize("attention", ["explicit", "fused"])
@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padded_rows_have_the_logits_of_transformers(
    saved: Saved, family: str, side: str, attention: AttentionPath
) -> None:
    """P14: padding on either side, with positions that count from the first real token."""
    model, peer = load(saved, family, attention).decoder, saved[family][1]
    tokens, mask = random_tokens(3, 20), torch.ones(3, 20, dtype=torch.int64)
    mask[0, slice(0, 7) if side == "left" else slice(13, 20)] = 0
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = peer(tokens, attention_mask=mask, position_ids=positions).logits
    found = model.logits(model(tokens, positions, causal_bias(mask)))
    assert_close(found[mask.bool()], expected[mask.bool()])
    alone = peer(tokens[:1][mask[:1].bool()][None]).logits
    assert_close(found[0][mask[0].bool()], alone[0])


@every_family
@torch.no_grad()
def test_packed_texts_have_the_logits_of_transformers_alone(saved: Saved, family: str) -> None:
    model, peer = load(saved, family).decoder, saved[family][1]
    lengths, tokens = (5, 12, 4), random_tokens(1, 24)  # and three tokens of padding
    segments = torch.tensor([[1] * 5 + [2] * 12 + [3] * 4 + [0] * 3])
    positions = torch.cat([*(torch.arange(n) for n in lengths), torch.zeros(3, dtype=torch.int64)])[None]
    packed = model.logits(model(tokens, positions, causal_bias(segments)))
    assert packed.isfinite().all()
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        assert_close(packed[:, part], peer(tokens[:, part]).logits)
        start += length


@every_family
@torch.no_grad()
def test_extra_features_reach_the_first_layer(saved: Saved, family: str) -> None:
    model = load(saved, family).decoder
    tokens, positions = random_tokens(1, 6), torch.arange(6)[None]
    bias = causal_bias(torch.ones_like(tokens))
    scale = model.scale if isinstance(model, Decoder) else 1.0
    if family != "gemma3":  # scales its embeddings inside
        extra = scale * (model.input_weight[9] - model.input_weight[tokens])
        expected = model(torch.full_like(tokens, 9), positions, bias)
        torch.testing.assert_close(
            model(tokens, positions, bias, extra=extra), expected, atol=1e-4, rtol=1e-4
        )
    assert not torch.allclose(
        model(tokens, positions, bias, extra=torch.ones(1, 6, 32)), model(tokens, positions, bias)
    )


@every_family
def test_greedy_words_are_those_of_generate(saved: Saved, family: str) -> None:
    model, peer = load(saved, family).decoder, saved[family][1]
    prompts = [random_tokens(n, seed=n).tolist() for n in (1, 3, 9, 9, 14)]
    found = sample(model, prompts, max_new_tokens=16, temperature=0.0, end_id=-1, generator=torch.Generator())
    for prompt, done in zip(prompts, found, strict=True):
        told = peer.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            do_sample=False,
            max_new_tokens=16,
            eos_token_id=-1,
            pad_token_id=0,
        )
        assert list(done.tokens) == told[0, len(prompt) :].tolist()


@every_family
def test_a_step_of_training_survives_the_way_to_transformers_and_back(
    saved: Saved, family: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    model = load(saved, family)
    tokens, positions = random_tokens(2, 10), torch.arange(10).expand(2, 10)
    bias = causal_bias(torch.ones_like(tokens))
    before = model.decoder.logits(model.decoder(tokens, positions, bias)).detach()
    optimizer = adam(model.decoder.parameters())
    set_rate(optimizer, 1e-2)
    hidden = model.decoder(tokens, positions, bias)[:, :-1]
    descend(optimizer, -model.decoder.token_logprobs(hidden, tokens[:, 1:]).mean(), clip_norm=1.0)
    assert all(weight.grad is not None for weight in model.decoder.parameters())
    save_checkpoint(tmp_path, model.decoder, model.tokenizer, model.chat_format)
    with torch.no_grad():
        after = model.decoder.logits(model.decoder(tokens, positions, bias))
        peer = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        again = load_checkpoint(tmp_path, NumericPlan()).decoder
        assert (after - before).abs().max() > 0.05 * before.abs().max()
        assert_close(peer(tokens).logits, after)
        assert_close(again.logits(again(tokens, positions, bias)), after, 1e-6)
    assert peer.config.model_type == saved[family][1].config.model_type
    assert not (tmp_path / "pytorch_model.bin").exists()


@every_family
def test_weights_fill_a_model_built_from_its_config_alone(saved: Saved, family: str) -> None:
    """As a reward model's trunk is opened."""
    model = load(saved, family).decoder
    fresh = empty_model(model.config.to_hf())
    fresh.load_state_dict(model.state_dict())
    tokens, positions = random_tokens(1, 6), torch.arange(6)[None]
    bias = causal_bias(torch.ones_like(tokens))
    assert torch.equal(fresh(tokens, positions, bias), model(tokens, positions, bias))
    pointers = [weight.data_ptr() for weight in model.state_dict().values()]
    assert len(set(pointers)) == len(pointers)  # nothing is saved twice


@every_family
def test_no_dropout_is_ever_active(saved: Saved, family: str) -> None:
    """P13: GPT-2's config asks for 0.1 in three places."""
    model = load(saved, family).decoder.train()
    active = [m for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0 and m.training]
    assert not active
    tokens, positions = random_tokens(1, 8), torch.arange(8)[None]
    bias = causal_bias(torch.ones_like(tokens))
    assert torch.equal(model(tokens, positions, bias), model(tokens, positions, bias))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bfloat16_is_near_and_leaves_masters_in_fp32(saved: Saved, family: str) -> None:
    model = load(saved, family).decoder
    tokens, positions = random_tokens(2, 12), torch.arange(12).expand(2, 12)
    bias = causal_bias(torch.ones_like(tokens))
    exact = model(tokens, positions, bias).detach()
    fast: LanguageModel = model.use(NumericPlan(linear="bfloat16"))
    found = fast(tokens, positions, bias)
    assert found.dtype == torch.float32
    assert 0 < float((found.detach() - exact).norm() / exact.norm()) < 0.05
    torch.autograd.backward(fast.token_logprobs(found[:, :-1], tokens[:, 1:]).sum())
    assert {weight.dtype for weight in fast.parameters()} == {torch.float32}
    assert all(weight.grad is not None and weight.grad.dtype == torch.float32 for weight in fast.parameters())


@every_family
def test_rows_come_and_go_with_the_vocabulary(saved: Saved, family: str) -> None:
    model = load(saved, family).decoder
    size = model.config.vocab_size
    before = model.input_weight.detach().clone()
    model.resize(size + 3)
    assert model.config.vocab_size == size + 3
    assert model.config.to_hf()["vocab_size"] == size + 3
    assert torch.equal(model.input_weight[:size], before)
    assert not model.input_weight[size:].any()
    assert not model.head_weight[size:].any()
    model.resize(size - 5)
    assert model.head_weight.shape[0] == size - 5
    assert {id(w) for w in model.parameters()} >= {id(model.input_weight), id(model.head_weight)}


@pytest.mark.parametrize("family", WINDOWED)
def test_a_sliding_window_limits_the_context(tokenizer: Tokenizer, tmp_path: Path, family: str) -> None:
    peer = random_peer(WINDOWED[family](tokenizer.vocab_size))
    peer.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    model = load_checkpoint(tmp_path, NumericPlan()).decoder
    assert model.config.max_positions == 16
    tokens, positions = random_tokens(1, 16), torch.arange(16)[None]
    with torch.no_grad():
        found = model.logits(model(tokens, positions, causal_bias(torch.ones_like(tokens))))
        assert_close(found, peer(tokens).logits)
        longer = random_tokens(1, 24)
        beyond = model(longer, torch.arange(24)[None], causal_bias(torch.ones_like(longer)))
        assert (model.logits(beyond) - peer(longer).logits)[0, -1].abs().max() > 1e-3


@pytest.mark.parametrize(("family", "told"), REFUSED)
def test_what_cannot_be_trained_here_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, family: str, told: str
) -> None:
    random_peer(OTHERS[family](tokenizer.vocab_size)).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    with pytest.raises(ArtifactError, match=told):
        load_checkpoint(tmp_path, NumericPlan())


def test_weights_that_do_not_fit_are_named(saved: Saved, tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_peer(tmp_path, "gpt2", tokenizer)
    config = read_json(tmp_path / "config.json")
    for change, told in (
        ({"n_layer": 3}, "weights do not fit config.json: missing keys transformer.h.2"),
        ({"n_layer": 1}, "weights do not fit config.json: unexpected keys transformer.h.1"),
        ({"n_head": 5}, "transformers cannot load it"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(ArtifactError, match=told):
            load_checkpoint(tmp_path, NumericPlan())
