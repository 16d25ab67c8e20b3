"""The shape of a Llama-family decoder, and its `config.json` in the Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from parley.errors import ArtifactError

SUPPORTED: Final = "llama"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """The shape of a decoder. `width` is the model's D, `mlp_width` the inner width of SwiGLU."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = True
    max_positions: int = 2048

    def __post_init__(self) -> None:
        if self.width % self.heads or self.head_dim % 2:
            raise ArtifactError(f"width {self.width} does not split into {self.heads} heads of even size")
        if self.heads % self.kv_heads:
            raise ArtifactError(f"{self.heads} heads do not share {self.kv_heads} key-value heads evenly")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads

    def to_hf(self) -> dict[str, object]:
        """The `config.json` of transformers' LlamaForCausalLM, without token ids."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": SUPPORTED,
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.mlp_width,
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": self.max_positions,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "dtype": "float32",
        }

    @classmethod
    def of_hf(cls, found: Mapping[str, object]) -> DecoderConfig:
        """The shape that a `config.json` describes.

        `ArtifactError` for another architecture, or a Llama with parts that are not built here
        (biases, another activation, scaled rotary positions).
        """
        _refuse_unsupported(found)
        heads, width = _whole(found, "num_attention_heads"), _whole(found, "hidden_size")
        if found.get("head_dim") not in (None, width // heads):
            raise ArtifactError(f"config.json: head_dim {found['head_dim']} is not hidden_size / heads")
        return cls(
            vocab_size=_whole(found, "vocab_size"),
            width=width,
            layers=_whole(found, "num_hidden_layers"),
            heads=heads,
            kv_heads=_whole({"num_key_value_heads": heads} | _present(found), "num_key_value_heads"),
            mlp_width=_whole(found, "intermediate_size"),
            rope_theta=_rope_theta(found),
            norm_eps=_number(found.get("rms_norm_eps", 1e-6), "rms_norm_eps"),
            tied=bool(found.get("tie_word_embeddings", False)),
            max_positions=_whole(
                {"max_position_embeddings": 2048} | _present(found), "max_position_embeddings"
            ),
        )


def _refuse_unsupported(found: Mapping[str, object]) -> None:
    kind = found.get("model_type")
    if kind != SUPPORTED:
        raise ArtifactError(
            f"config.json: model_type {kind!r} is not supported; only {SUPPORTED!r} decoders are"
        )
    plain: dict[str, tuple[object, ...]] = {
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        "hidden_act": ("silu", None),
    }
    for name, allowed in plain.items():
        if found.get(name) not in allowed:
            raise ArtifactError(f"config.json: {name} {found[name]!r} is not supported, only {allowed[0]!r}")
    rope = _rope(found)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ArtifactError(
            f"config.json: rotary positions of type {kind!r} are not supported, only 'default'"
        )


def _present(found: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if value is not None}


def _rope(found: Mapping[str, object]) -> Mapping[str, object]:
    for name in ("rope_parameters", "rope_scaling"):
        value = found.get(name)
        if isinstance(value, Mapping):
            return cast("Mapping[str, object]", value)
    return {}


def _rope_theta(found: Mapping[str, object]) -> float:
    return _number(_rope(found).get("rope_theta", found.get("rope_theta", 10_000.0)), "rope_theta")


def _whole(found: Mapping[str, object], name: str) -> int:
    value = found.get(name)
    if not isinstance(value, int) or value < 1:
        raise ArtifactError(f"config.json: {name} must be a positive whole number, got {value!r}")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, (int, float)):
        raise ArtifactError(f"config.json: {name} must be a number, got {value!r}")
    return float(value)
