"""Any causal model of the transformers library as a `LanguageModel`: its own modules, our batches.

For architectures that `model.decoder` does not cover (GPT-2, GPT-NeoX, Gemma 2 and 3, …). Slower than
our decoder. Only code inside transformers runs (never a repository's own), and only safetensors are
opened. Whether a model honours explicit positions, packed rows and our cache, and whether its logits
are its hidden states times one matrix, is checked on a few tokens whenever weights are loaded, so an
architecture that does not (recurrent, with biases by distance, with a bias on its logits) is refused.

Importing this file imports transformers, which takes seconds: import it where it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, noop_context_fn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging

from parley.errors import ArtifactError
from parley.model.cache import CacheView, KeyValueCache, empty_cache
from parley.model.decoder import LINEAR_DTYPES
from parley.model.language_model import Circumstances, LanguageModel
from parley.model.sight import Sight, causal_bias, dense
from parley.numerics import AttentionPath, NumericPlan

ATTENTION: Final[Mapping[AttentionPath, str]] = {"explicit": "eager", "fused": "sdpa"}
TOLERANCE: Final = 1e-4  # of the largest logit, between packed and alone
WINDOWS: Final = ("sliding_window", "attention_chunk_size")
BENT_LOGITS: Final = ("final_logit_softcapping", "logit_scale", "logits_scaling")
UNREADABLE: Final = (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError)

logging.set_verbosity_error()
logging.disable_progress_bar()


@dataclass(frozen=True, slots=True)
class TransformersShape:
    """What `LanguageModel` tells of its shape, read from a config of transformers."""

    hf: Mapping[str, object]
    vocab_size: int
    width: int
    layers: int
    kv_heads: int
    head_dim: int
    max_positions: int
    tied: bool

    @classmethod
    def of(cls, config: Any) -> TransformersShape:
        """`ArtifactError` where the model has no fixed context or no attention heads.

        A context longer than a sliding window is cut to it: within the window attention is plain.
        """
        found = config.get_text_config()
        heads, width = (getattr(found, name, 0) for name in ("num_attention_heads", "hidden_size"))
        limits = [getattr(found, name, None) for name in ("max_position_embeddings", *WINDOWS)]
        if capped := [name for name in BENT_LOGITS if getattr(found, name, None) not in (None, 1, 1.0)]:
            raise ArtifactError(f"config.json: {capped[0]} is not built here")
        if not (heads and width and limits[0]):
            raise ArtifactError(
                f"config.json: {config.model_type} states no attention heads, width or context"
            )
        said = json.loads(config.to_json_string(use_diff=True))
        said.pop("_name_or_path", None)
        return cls(
            hf=said | {"vocab_size": found.vocab_size, "dtype": "float32"},
            vocab_size=found.vocab_size,
            width=width,
            layers=found.num_hidden_layers,
            kv_heads=getattr(found, "num_key_value_heads", None) or heads,
            head_dim=getattr(found, "head_dim", None) or width // heads,
            max_positions=min(limit for limit in limits if limit),
            tied=bool(config.tie_word_embeddings),
        )

    def to_hf(self) -> dict[str, object]:
        """The model's own `config.json`."""
        return dict(self.hf)


def _computed_again(forward: Any, circumstances: Circumstances, *inputs: Any, **named: Any) -> Any:
    """One layer: kept by its inputs alone where something learns, as it is where something is written."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)
    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=circumstances, **named)


class TransformersDecoder(LanguageModel):
    """The trunk of a causal model and its output matrix. The model is always in eval mode (P13)."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.linear_dtype = torch.float32
        self._whole = (whole,)  # shares its parameters with the trunk; not in the state dict
        self.trunk: nn.Module = whole.base_model
        self._read_parts()
        self.eval()

    def _read_parts(self) -> None:
        (whole,) = self._whole
        head = whole.get_output_embeddings().weight
        self.config: TransformersShape = TransformersShape.of(whole.config)
        self.untied_head = None if head is self.input_weight else head

    @property
    def input_weight(self) -> Tensor:
        """The token embeddings."""
        found: Tensor = self._whole[0].get_input_embeddings().weight
        return found

    @property
    def head_weight(self) -> Tensor:
        """The matrix that turns hidden states into logits."""
        return self.input_weight if self.untied_head is None else self.untied_head

    def train(self, mode: bool = True) -> TransformersDecoder:
        """Stays in eval mode: configs of transformers often ask for dropout."""
        del mode
        super().train(False)
        return self

    def recompute(self, circumstances: Circumstances | None = None) -> None:
        """Layers are computed again on the way back; `ArtifactError` where there are none that can be.

        Not by transformers' own switch, which asks for training mode and then forgets the cache.
        """
        layers = [one for one in self.trunk.modules() if isinstance(one, GradientCheckpointingLayer)]
        if not layers:
            raise ArtifactError(
                f"recompute: the layers of {self._whole[0].config.model_type} cannot be recomputed"
            )
        for layer in layers:
            plain = type(layer).forward.__get__(layer)
            layer.forward = partial(_computed_again, plain, circumstances or noop_context_fn)

    def use(self, plan: NumericPlan) -> TransformersDecoder:
        """On the plan's device; bfloat16 by torch's autocast, attention included."""
        self.linear_dtype = self.sampling_dtype = LINEAR_DTYPES[plan.linear]
        self._whole[0].set_attn_implementation(ATTENTION[plan.attention])
        return self.to(plan.device)

    @torch.no_grad()
    def resize(self, vocab_size: int) -> None:
        """Room for so many tokens: rows beyond are dropped, new ones are 0."""
        before = self.config.vocab_size
        with torch.random.fork_rng():
            self._whole[0].resize_token_embeddings(vocab_size, mean_resizing=False)
        self._read_parts()
        for matrix in (self.input_weight, self.head_weight):
            matrix[before:] = 0.0

    def forward(
        self, tokens: Tensor, positions: Tensor, sight: Sight | Tensor, *, extra: Tensor | None = None
    ) -> Tensor:
        """Hidden states after the final norm."""
        return self._run(tokens, positions, dense(sight), extra, None)

    def forward_cached(self, tokens: Tensor, positions: Tensor, cache: CacheView) -> Tensor:
        """Hidden states of the next N tokens of every row; their keys and values join the cache."""
        hidden = self._run(tokens, positions, cache.bias(tokens.shape[1]), None, cache)
        cache.advance(tokens.shape[1])
        return hidden

    def _run(
        self,
        tokens: Tensor,
        positions: Tensor,
        bias: Tensor,
        extra: Tensor | None,
        cache: CacheView | None,
    ) -> Tensor:
        x = self._whole[0].get_input_embeddings()(tokens)
        fast = self.linear_dtype is torch.bfloat16
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=fast):
            found = self.trunk(
                inputs_embeds=x if extra is None else x + extra,
                attention_mask=bias,
                position_ids=positions,
                past_key_values=None if cache is None else _TheirCache(cache),
                use_cache=cache is not None,
            )
        hidden: Tensor = found.last_hidden_state
        return hidden.float()

    def save(self, directory: Path) -> None:
        """Weights and config under transformers' names, as the library itself writes them."""
        self._whole[0].save_pretrained(directory)

    @torch.no_grad()
    def check(self) -> None:
        """`ArtifactError` unless packed rows and cached steps give what the model says by itself."""
        tokens = torch.arange(8, device=self.device)[None] % self.config.vocab_size
        alone = [self._whole[0](input_ids=part, use_cache=False).logits for part in tokens.chunk(2, 1)]
        positions = (torch.arange(8, device=self.device) % 4)[None]
        segments = 1 + (torch.arange(8, device=self.device) // 4)[None]
        packed = self.logits(self(tokens, positions, causal_bias(segments)))
        _compare(packed, torch.cat(alone, 1), f"a {self.config.hf['model_type']} in packed rows")
        cache = self._empty_cache(columns=4)
        parts = ((tokens[:, :2], positions[:, :2]), (tokens[:, 2:4], positions[:, 2:4]))
        steps = [self.logits(self.forward_cached(*part, cache)) for part in parts]
        _compare(torch.cat(steps, 1), alone[0], f"a {self.config.hf['model_type']} with a cache")

    def _empty_cache(self, *, columns: int) -> KeyValueCache:
        config, starts = self.config, torch.zeros(1, dtype=torch.int64, device=self.device)
        return empty_cache(
            starts, layers=config.layers, kv_heads=config.kv_heads, columns=columns, head_dim=config.head_dim
        )


class _TheirCache(Cache):  # type: ignore[misc]
    """Our cache as the modules of transformers see one."""

    def __init__(self, cache: CacheView) -> None:
        super().__init__(layers=[])
        self.cache = cache

    def update(
        self, key: Tensor, value: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Everything that the layer now remembers."""
        found = self.cache.append(layer, key.transpose(0, 1).float(), value.transpose(0, 1).float())
        return found[0].transpose(0, 1).to(key.dtype), found[1].transpose(0, 1).to(value.dtype)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns that are already there."""
        del layer_idx
        return self.cache.used


def _compare(found: Tensor, expected: Tensor, what: str) -> None:
    gap = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
    if not gap <= TOLERANCE:
        raise ArtifactError(
            f"{what} gives other logits than alone (by {gap:.2g} of the largest): its attention does not "
            "follow masks and positions, or its logits are not hidden states times one matrix; "
            "take a model of another architecture"
        )


def empty_transformers_model(found: Mapping[str, object]) -> TransformersDecoder:
    """The model of a `config.json` with weights still to be loaded."""
    keys = {name: value for name, value in found.items() if name != "model_type"}
    with torch.random.fork_rng():
        try:
            config = AutoConfig.for_model(found.get("model_type"), **keys)
            whole = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager")
        except UNREADABLE as error:
            raise ArtifactError(
                f"config.json: not a causal model that transformers can build: {error}"
            ) from error
    return TransformersDecoder(whole)


def load_transformers_model(directory: Path) -> TransformersDecoder:
    """The model of a directory; `ArtifactError` where weights are missing, left over or of other shapes."""
    try:
        whole, said = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except UNREADABLE as error:
        raise ArtifactError(f"{directory}: transformers cannot load it: {_first_line(error)}") from error
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if said[what]:
            names = ", ".join(str(name) for name in sorted(said[what])[:3])
            raise ArtifactError(
                f"{directory}: weights do not fit config.json: {what.replace('_', ' ')} {names}"
            )
    model = TransformersDecoder(whole)
    model.check()
    return model


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
