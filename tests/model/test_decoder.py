"""The decoder's numbers: transformers' own, packing, padding, precision, gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from parley.errors import ArtifactError
from parley.model import kernels
from parley.model.cache import empty_cache
from parley.model.decoder import Decoder, DecoderConfig, causal_bias, count_parameters
from parley.model.kernels import rms_norm, rotate
from parley.numerics import AttentionPath, NumericPlan

from .conftest import MakeDecoder

PATHS: tuple[AttentionPath, ...] = ("explicit", "fused")


def _tokens(decoder: Decoder, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(decoder.config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def _whole(decoder: Decoder, tokens: Tensor) -> Tensor:
    """Logits of rows that are one segment each."""
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    return decoder.logits(decoder(tokens, positions, causal_bias(torch.ones_like(tokens))))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_are_those_of_transformers(
    make_decoder: MakeDecoder, kv_heads: int, tied: bool, path: AttentionPath
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    decoder = make_decoder(kv_heads=kv_heads, tied=tied, gain=2.0).use(NumericPlan(attention=path))
    peer = LlamaForCausalLM(LlamaConfig(**decoder.config.to_hf())).eval()
    missing, unexpected = peer.load_state_dict(decoder.hf_weights, strict=False)
    assert not unexpected
    assert missing == (["lm_head.weight"] if tied else [])
    peer.tie_weights()
    tokens = _tokens(decoder, 3, 20)
    mask = torch.ones_like(tokens)
    mask[0, :7] = 0  # left padding, with positions that count from the first real token (P14)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = peer(tokens, attention_mask=mask, position_ids=positions).logits
        found = decoder.logits(decoder(tokens, positions, causal_bias(mask)))
    assert (found - expected)[mask.bool()].abs().max() <= 1e-5


@pytest.mark.parametrize("path", PATHS)
def test_packed_rows_equal_rows_alone(make_decoder: MakeDecoder, path: AttentionPath) -> None:
    decoder = make_decoder(kv_heads=2).use(NumericPlan(attention=path))
    tokens = _tokens(decoder, 1, 24)
    lengths = (5, 12, 4)  # and three tokens of padding
    segments = torch.tensor([[1] * 5 + [2] * 12 + [3] * 4 + [0] * 3])
    positions = torch.cat([*(torch.arange(n) for n in lengths), torch.zeros(3, dtype=torch.int64)])[None]
    packed = decoder.logits(decoder(tokens, positions, causal_bias(segments)))
    assert packed.isfinite().all()
    start = 0
    for length in lengths:
        alone = _whole(decoder, tokens[:, start : start + length])
        torch.testing.assert_close(packed[:, start : start + length], alone, atol=1e-5, rtol=0)
        start += length


def test_padding_is_seen_by_nobody(make_decoder: MakeDecoder) -> None:
    decoder = make_decoder()
    segments = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    bias = causal_bias(segments)
    assert bias.shape == (2, 1, 5, 5)
    assert (bias[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    tokens, positions = _tokens(decoder, 2, 5), torch.zeros(2, 5, dtype=torch.int64)
    torch.autograd.backward(decoder(tokens, positions, bias)[segments != 0].sum())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in decoder.parameters())


def test_cached_steps_equal_the_whole_forward(make_decoder: MakeDecoder) -> None:
    decoder = make_decoder(kv_heads=2)
    tokens = _tokens(decoder, 2, 9)
    pads = torch.tensor([0, 3])  # the second row begins in the fourth column
    positions = (torch.arange(9) - pads[:, None]).clamp(min=0)
    whole = decoder(tokens, positions, causal_bias((torch.arange(9) >= pads[:, None]).long()))
    cache = empty_cache(pads, layers=2, kv_heads=2, columns=9, head_dim=16)
    with torch.no_grad():
        first = decoder.forward_cached(tokens[:, :4], positions[:, :4], cache)
        rest = [
            decoder.forward_cached(tokens[:, n : n + 1], positions[:, n : n + 1], cache) for n in range(4, 9)
        ]
    found = torch.cat([first, *rest], 1)
    torch.testing.assert_close(found[0], whole[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1, 3:], whole[1, 3:], atol=1e-5, rtol=0)


def test_token_logprobs_equal_log_softmax(make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "SMALLEST_BLOCK", 4)  # several blocks, the last one short
    monkeypatch.setattr(kernels, "CPU_BLOCK", 1)
    decoder = make_decoder()
    hidden = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    targets, weigh = _tokens(decoder, 2, 7), torch.linspace(-1, 2, 14).view(2, 7)
    plain = torch.log_softmax(decoder.logits(hidden) / 0.7, -1).gather(-1, targets[..., None])[..., 0]
    inputs = (hidden, decoder.embedding)
    expected = torch.autograd.grad((plain * weigh).sum(), inputs)
    found = decoder.token_logprobs(hidden, targets, 0.7)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(torch.autograd.grad((found * weigh).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="above 0"):
        decoder.token_logprobs(hidden, targets, 0.0)


def test_kernels_and_their_gradients_equal_the_plain_formulas() -> None:
    generator = torch.Generator().manual_seed(3)
    x, gain = (
        torch.randn(*s, dtype=torch.float64, generator=generator, requires_grad=True)
        for s in ((2, 3, 8), (8,))
    )
    cos, sin = (torch.randn(3, 2, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    torch.testing.assert_close(rms_norm(x, gain, 1e-5), F.rms_norm(x, (8,), gain, 1e-5))
    assert torch.autograd.gradcheck(lambda a, b: rms_norm(a, b, 1e-5), (x, gain))
    angle = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    cos = torch.cat((angle.cos(), angle.cos()), -1)
    sin = torch.cat((-angle.sin(), angle.sin()), -1)
    heads = torch.randn(5, 2, 3, 8, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: rotate(a, cos, sin), (heads,))


def _gradients(decoder: Decoder, plan: NumericPlan) -> list[Tensor]:
    decoder.use(plan).zero_grad(set_to_none=True)
    tokens = _tokens(decoder, 4, 32)
    segments = torch.cat([torch.full((4, 20), 1), torch.full((4, 12), 2)], 1)
    positions = torch.cat([torch.arange(20), torch.arange(12)]).expand(4, 32)
    hidden = decoder(tokens, positions, causal_bias(segments))
    torch.autograd.backward(-decoder.token_logprobs(hidden[:, :-1], tokens[:, 1:]).mean())
    return [weight.grad for weight in decoder.parameters() if weight.grad is not None]


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_every_path_has_the_same_gradient(make_decoder: MakeDecoder, kv_heads: int) -> None:
    decoder = make_decoder(kv_heads=kv_heads, gain=1.0)
    exact = _gradients(decoder, NumericPlan())
    fused = _gradients(decoder, NumericPlan(attention="fused"))
    assert len(exact) == len(list(decoder.parameters()))
    for one, other in zip(exact, fused, strict=True):
        torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-4)
    for path in PATHS:
        for one, other in zip(
            exact, _gradients(decoder, NumericPlan(linear="bfloat16", attention=path)), strict=True
        ):
            assert other.dtype == torch.float32
            assert (other - one).norm() <= 0.03 * one.norm()


def test_extra_features_are_added_to_the_embeddings(make_decoder: MakeDecoder) -> None:
    decoder = make_decoder()
    tokens, positions = _tokens(decoder, 1, 6), torch.arange(6)[None]
    bias = causal_bias(torch.ones_like(tokens))
    extra = (decoder.embedding[9] - decoder.embedding[tokens]).detach()
    assert torch.allclose(
        decoder(tokens, positions, bias, extra=extra),
        decoder(torch.full_like(tokens, 9), positions, bias),
        atol=1e-5,
    )


def test_initial_weights_have_the_usual_size_and_follow_the_seed() -> None:
    config = DecoderConfig(vocab_size=500, width=128, layers=8, heads=4, kv_heads=4, mlp_width=256)
    one, same, other = (Decoder(config).initialise(torch.Generator().manual_seed(n)) for n in (1, 1, 2))
    layer = one.layers[3]
    assert one.embedding.std().item() == pytest.approx(0.02, rel=0.03)
    assert layer.get_parameter("mlp.down.weight").std().item() == pytest.approx(0.02 / 4, rel=0.03)
    assert layer.get_parameter("attention.out.weight").std().item() == pytest.approx(0.02 / 4, rel=0.03)
    assert torch.equal(one.embedding, same.embedding)
    assert not torch.equal(one.embedding, other.embedding)
    assert count_parameters(one) == 500 * 128 + 8 * (4 * 128 * 128 + 3 * 128 * 256 + 2 * 128) + 128


def test_a_config_survives_the_hugging_face_layout() -> None:
    config = DecoderConfig(
        vocab_size=500, width=128, layers=8, heads=4, kv_heads=2, mlp_width=256, rope_theta=5e5, tied=False
    )
    assert DecoderConfig.of_hf(config.to_hf()) == config
    old = {k: v for k, v in config.to_hf().items() if k not in ("rope_parameters", "head_dim")}
    assert DecoderConfig.of_hf(old | {"rope_scaling": None}) == config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "gpt2"}, "'gpt2' is not built here, only llama, mistral"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "type 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "factor must be a number"),
        ({"hidden_size": "wide"}, "hidden_size must be"),
        ({"num_attention_heads": 5}, "5 heads do not share 4"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None}, "does not split"),
        ({"num_key_value_heads": 3}, "do not share"),
    ],
)
def test_another_architecture_is_refused_by_name(change: dict[str, object], told: str) -> None:
    config = DecoderConfig(vocab_size=500, width=128, layers=8, heads=4, kv_heads=4, mlp_width=256)
    with pytest.raises(ArtifactError, match=told):
        DecoderConfig.of_hf(config.to_hf() | change)
