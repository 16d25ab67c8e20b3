"""The shape of a Llama-like decoder, and its `config.json` in the Hugging Face layout.

Five families differ in a few parts that a table names. What is not in it (other families, biases
elsewhere, other rotary scalings) runs in transformers' own modules: `model.transformers_decoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from parley.errors import ArtifactError

FamilyName = Literal["llama", "mistral", "qwen2", "qwen3", "gemma"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What sets a family apart from Llama."""

    architecture: str
    qkv_bias: bool = False
    query_key_norm: bool = False  # RMSNorm over each head of queries and keys
    geglu: bool = False  # GELU (tanh) where Llama has SiLU
    scaled_embedding: bool = False  # token embeddings times sqrt(width)
    gain_offset: float = 0.0  # a file holds gains of norms less this
    head_dim: int = 0  # where config.json is silent; 0: width / heads
    tied: bool = False  # where config.json is silent
    defaults: Mapping[str, object] | None = None  # further keys of config.json


FAMILIES: Final[Mapping[FamilyName, Family]] = {
    "llama": Family(architecture="LlamaForCausalLM"),
    "mistral": Family(architecture="MistralForCausalLM", defaults={"sliding_window": None}),
    "qwen2": Family(architecture="Qwen2ForCausalLM", qkv_bias=True, defaults={"use_sliding_window": False}),
    "qwen3": Family(
        architecture="Qwen3ForCausalLM",
        query_key_norm=True,
        head_dim=128,
        defaults={"use_sliding_window": False},
    ),
    "gemma": Family(
        architecture="GemmaForCausalLM",
        geglu=True,
        scaled_embedding=True,
        gain_offset=1.0,
        head_dim=256,
        tied=True,
        defaults={"hidden_act": "gelu_pytorch_tanh"},
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Llama 3's rotary frequencies for long contexts: slow ones are divided by `factor`, fast ones stay."""

    factor: float
    low_frequency: float
    high_frequency: float
    original_positions: int


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
    family: FamilyName = "llama"
    head_size: int = 0
    """Width of one attention head; 0: width / heads."""
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        if (not self.head_size and self.width % self.heads) or self.head_dim % 2:
            raise ArtifactError(f"width {self.width} does not split into {self.heads} heads of even size")
        if self.heads % self.kv_heads:
            raise ArtifactError(f"{self.heads} heads do not share {self.kv_heads} key-value heads evenly")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.head_size or self.width // self.heads

    @property
    def parts(self) -> Family:
        """What sets its family apart."""
        return FAMILIES[self.family]

    def to_hf(self) -> dict[str, object]:
        """The `config.json` of transformers' model of this family, without token ids."""
        return {
            "architectures": [self.parts.architecture],
            "model_type": self.family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.mlp_width,
            "rope_theta": self.rope_theta,
            "rope_parameters": self._rope(),
            "rms_norm_eps": self.norm_eps,
            "tie_word_embeddings": self.tied,
            "max_position_embeddings": self.max_positions,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "attention_dropout": 0.0,
            "dtype": "float32",
        } | dict(self.parts.defaults or {})

    def _rope(self) -> dict[str, object]:
        if self.rope_scaling is None:
            return {"rope_type": "default", "rope_theta": self.rope_theta}
        return {
            "rope_type": "llama3",
            "rope_theta": self.rope_theta,
            "factor": self.rope_scaling.factor,
            "low_freq_factor": self.rope_scaling.low_frequency,
            "high_freq_factor": self.rope_scaling.high_frequency,
            "original_max_position_embeddings": self.rope_scaling.original_positions,
        }

    @classmethod
    def of_hf(cls, found: Mapping[str, object]) -> DecoderConfig:
        """The shape that a `config.json` describes.

        `ArtifactError` for what `not_built` names. A context longer than the model's sliding window
        is cut to it: within the window attention is the plain one.
        """
        if why := not_built(found):
            raise ArtifactError(f"config.json: {why}")
        name = cast("FamilyName", found["model_type"])
        family, window, found = FAMILIES[name], _window(found, name), _present(found)
        heads, width = _whole(found, "num_attention_heads"), _whole(found, "hidden_size")
        head_dim = _whole({"head_dim": family.head_dim or max(width // heads, 1)} | found, "head_dim")
        positions = _whole({"max_position_embeddings": 2048} | found, "max_position_embeddings")
        return cls(
            vocab_size=_whole(found, "vocab_size"),
            width=width,
            layers=_whole(found, "num_hidden_layers"),
            heads=heads,
            kv_heads=_whole({"num_key_value_heads": heads} | found, "num_key_value_heads"),
            mlp_width=_whole(found, "intermediate_size"),
            rope_theta=_rope_theta(found),
            norm_eps=_number(found.get("rms_norm_eps", 1e-6), "rms_norm_eps"),
            tied=bool(found.get("tie_word_embeddings", family.tied)),
            max_positions=min(positions, window or positions),
            family=name,
            head_size=0 if head_dim * heads == width else head_dim,
            rope_scaling=_rope_scaling(found),
        )


def not_built(found: Mapping[str, object]) -> str:
    """What our own decoder lacks to run the model of a `config.json`; "" where it lacks nothing."""
    kind = found.get("model_type")
    if kind not in FAMILIES:
        return f"model_type {kind!r} is not built here, only {', '.join(FAMILIES)}"
    gelu = FAMILIES[cast("FamilyName", kind)].geglu
    plain: dict[str, tuple[object, ...]] = {
        "attention_bias": (False, None),
        "mlp_bias": (False, None),
        "hidden_act": ("gelu_pytorch_tanh", "gelu", None) if gelu else ("silu", None),
        "hidden_activation": ("gelu_pytorch_tanh", "gelu", None) if gelu else (None,),
        "use_bidirectional_attention": (False, None),
    }
    for name, allowed in plain.items():
        if found.get(name) not in allowed:
            return f"{name} {found[name]!r} is not built here, only {allowed[0]!r}"
    rope = _rope(found)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", "llama3"):
        return f"rotary positions of type {kind!r} are not built here, only 'default' and 'llama3'"
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        return "rotary positions of a part of each head are not built here"
    return ""


def _present(found: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in found.items() if value is not None}


def _window(found: Mapping[str, object], name: FamilyName) -> int:
    """Tokens that a token sees at most; 0 is no limit. Mistral's is 4096 unless the file says null."""
    if name == "mistral":
        found = {"sliding_window": 4096, "use_sliding_window": True, **found}
    limited = found.get("use_sliding_window") and found.get("sliding_window") is not None
    return _whole(found, "sliding_window") if limited else 0


def _rope(found: Mapping[str, object]) -> Mapping[str, object]:
    for name in ("rope_parameters", "rope_scaling"):
        value = found.get(name)
        if isinstance(value, Mapping):
            return cast("Mapping[str, object]", value)
    return {}


def _rope_theta(found: Mapping[str, object]) -> float:
    return _number(_rope(found).get("rope_theta", found.get("rope_theta", 10_000.0)), "rope_theta")


def _rope_scaling(found: Mapping[str, object]) -> RopeScaling | None:
    rope = _rope(found)
    if rope.get("rope_type", rope.get("type")) != "llama3":
        return None
    return RopeScaling(
        factor=_number(rope.get("factor"), "factor"),
        low_frequency=_number(rope.get("low_freq_factor"), "low_freq_factor"),
        high_frequency=_number(rope.get("high_freq_factor"), "high_freq_factor"),
        original_positions=_whole(rope, "original_max_position_embeddings"),
    )


def _whole(found: Mapping[str, object], name: str) -> int:
    value = found.get(name)
    if not isinstance(value, int) or value < 1:
        raise ArtifactError(f"config.json: {name} must be a positive whole number, got {value!r}")
    return value


def _number(value: object, name: str) -> float:
    if not isinstance(value, (int, float)):
        raise ArtifactError(f"config.json: {name} must be a number, got {value!r}")
    return float(value)
