"""Adapters: nothing at first, nothing when off, the same when merged, and alone in what is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from parley.engine.sampler import sample
from parley.model.adapters import AdaptedModel, AdapterConfig, SharedTrunk, adapted
from parley.model.checkpoint import LoadedModel, load_checkpoint, save_checkpoint
from parley.model.decoder import causal_bias
from parley.model.heads import ValueModel
from parley.model.language_model import LanguageModel
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf.loop import adam, descend, set_rate

from .families import save_peer

FAMILIES = ("llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox")
LORA = AdapterConfig(rank=4, alpha=8.0)
TOKENS = torch.randint(300, (2, 10), generator=torch.Generator().manual_seed(1))
POSITIONS, BIAS = torch.arange(10).expand(2, 10), causal_bias(torch.ones_like(TOKENS))
every_family = pytest.mark.parametrize("family", FAMILIES)
Load = Callable[[str], LoadedModel]


@pytest.fixture(scope="module")
def load(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Load:
    folders = {name: tmp_path_factory.mktemp(name) for name in FAMILIES}
    for name, folder in folders.items():
        save_peer(folder, name, tokenizer)
    return lambda family: load_checkpoint(folders[family], NumericPlan())


def logits(model: LanguageModel) -> Tensor:
    with torch.no_grad():
        return model.logits(model(TOKENS, POSITIONS, BIAS))


def trained(model: LanguageModel, *, steps: int = 3, rate: float = 3e-2) -> LanguageModel:
    optimizer = adam(model.parameters())
    for _ in range(steps):
        set_rate(optimizer, rate)
        hidden = model(TOKENS, POSITIONS, BIAS)[:, :-1]
        descend(optimizer, -model.token_logprobs(hidden, TOKENS[:, 1:]).mean(), clip_norm=1.0)
    return model


def lora(trunk: SharedTrunk, seed: int = 0) -> AdaptedModel:
    return AdaptedModel(trunk, LORA, torch.Generator().manual_seed(seed))


@every_family
def test_on_every_matrix_and_nothing_at_first(load: Load, family: str) -> None:
    base = load(family).decoder
    before = logits(base)
    model = lora(SharedTrunk(base))
    assert torch.equal(logits(model), before)
    assert len(model.adapters) == 2 * 4  # of each layer: qkv, out, two of the MLP
    assert {name.split(".")[0] for name in model.state_dict()} == {"adapters"}


@every_family
def test_off_the_base_is_what_it_was_bit_for_bit(load: Load, family: str) -> None:
    base = load(family).decoder
    before, weights = logits(base), {k: v.clone() for k, v in base.state_dict().items()}
    trunk = SharedTrunk(base)
    policy, critic = lora(trunk), lora(trunk, seed=1)
    loss = -trained(policy).token_logprobs(policy(TOKENS, POSITIONS, BIAS)[:, :-1], TOKENS[:, 1:]).mean()
    learnt = logits(policy)
    assert (learnt - before).abs().max() > 0.05 * before.abs().max()
    assert loss.isfinite()
    assert torch.equal(logits(base), before)  # the reference of PPO
    trained(critic)
    assert torch.equal(logits(policy), learnt)  # nobody else's adapters change it
    assert not torch.equal(logits(critic), learnt)
    assert all(torch.equal(value, weights[name]) for name, value in base.state_dict().items())


@every_family
def test_gradients_are_in_the_adapters_alone(load: Load, family: str) -> None:
    base = load(family).decoder
    model = lora(SharedTrunk(base))
    trained(model, steps=1)  # before it the inward halves have no gradient: the outward ones are 0
    model.zero_grad(set_to_none=True)
    hidden = model(TOKENS, POSITIONS, BIAS)[:, :-1]
    torch.autograd.backward(model.token_logprobs(hidden, TOKENS[:, 1:]).sum())
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in model.parameters())
    assert all(weight.grad is None for weight in base.parameters())


@every_family
def test_merged_it_says_the_same_here_and_in_transformers(load: Load, family: str, tmp_path: Path) -> None:
    loaded = load(family)
    model = trained(lora(SharedTrunk(loaded.decoder)))
    assert isinstance(model, AdaptedModel)
    expected = logits(model)
    largest = expected.abs().max()
    assert (logits(model.merged()) - expected).abs().max() <= 1e-5 * largest
    save_checkpoint(tmp_path, model, loaded.tokenizer, loaded.chat_format)
    assert (logits(load_checkpoint(tmp_path, NumericPlan()).decoder) - expected).abs().max() <= 1e-5 * largest
    with torch.no_grad():
        peer = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert (peer(TOKENS).logits - expected).abs().max() <= 1e-5 * largest


@every_family
def test_the_sampler_writes_what_the_merged_model_writes(load: Load, family: str) -> None:
    model = trained(lora(SharedTrunk(load(family).decoder)))
    assert isinstance(model, AdaptedModel)
    prompts = [[5, 6, 7], [8], [9, 10, 11, 12]]
    found = [
        sample(one, prompts, max_new_tokens=12, temperature=0.0, end_id=-1, generator=torch.Generator())
        for one in (model, model.merged(), model.trunk.model)
    ]
    assert found[0] == found[1] != found[2]


def test_a_critic_and_a_policy_share_one_trunk(load: Load) -> None:
    """What is in memory for policy, reference and critic, in copies of the trunk's weights."""
    base = load("llama").decoder
    size = sum(weight.numel() for weight in base.parameters())
    trunk = SharedTrunk(base)
    policy, critic = lora(trunk), ValueModel(lora(trunk, seed=1))
    learnt = [w for model in (policy, critic) for w in model.parameters()]
    assert all(weight.requires_grad for weight in learnt)
    shared = size + 4 * sum(weight.numel() for weight in learnt)  # weights, gradients and two moments
    apart = 4 * size + size + 4 * size
    assert shared < 0.4 * apart
    values = critic(TOKENS, POSITIONS, BIAS)
    torch.autograd.backward(values.sum())
    assert critic.head.weight.grad is not None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bfloat16_products_are_near(load: Load, family: str) -> None:
    model = trained(lora(SharedTrunk(load(family).decoder)))
    exact = logits(model)
    found = logits(model.use(NumericPlan(linear="bfloat16")))
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.05
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_rank_nought_trains_the_model_itself(load: Load) -> None:
    base = load("llama").decoder
    assert adapted(base, AdapterConfig(), torch.Generator()) is base
    assert isinstance(adapted(base, LORA, torch.Generator()), AdaptedModel)


def test_adapters_follow_their_seed(load: Load) -> None:
    trunk = SharedTrunk(load("llama").decoder)
    one, same, other = (lora(trunk, seed=n).state_dict() for n in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
