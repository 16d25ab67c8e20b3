"""A tiny random model of every family, as transformers builds it: no weight is at a neutral value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
import transformers

from parley.model.tokenizer import Tokenizer

SIZES: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
GROUPED: Final = {**SIZES, "num_key_value_heads": 2}
LLAMA3: Final = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
NATIVE: Final[Mapping[str, Callable[[int], Any]]] = {
    "llama": lambda n: transformers.LlamaConfig(vocab_size=n, **GROUPED),
    "llama-3": lambda n: transformers.LlamaConfig(vocab_size=n, rope_parameters=LLAMA3, **GROUPED),
    "smollm": lambda n: transformers.LlamaConfig(vocab_size=n, tie_word_embeddings=True, **GROUPED),
    "mistral": lambda n: transformers.MistralConfig(
        vocab_size=n, head_dim=16, sliding_window=None, **GROUPED
    ),
    "qwen2": lambda n: transformers.Qwen2Config(vocab_size=n, **GROUPED),
    "qwen3": lambda n: transformers.Qwen3Config(
        vocab_size=n, head_dim=16, tie_word_embeddings=True, **GROUPED
    ),
    "gemma": lambda n: transformers.GemmaConfig(vocab_size=n, head_dim=16, **GROUPED),
}
FOREIGN: Final[Mapping[str, Callable[[int], Any]]] = {
    "gpt2": lambda n: transformers.GPT2Config(vocab_size=n, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "gpt_neox": lambda n: transformers.GPTNeoXConfig(vocab_size=n, **SIZES),
    "gemma3": lambda n: transformers.Gemma3TextConfig(vocab_size=n, head_dim=16, **GROUPED),
}
FAMILIES: Final = {**NATIVE, **FOREIGN}
WINDOWED: Final[Mapping[str, Callable[[int], Any]]] = {
    "mistral": lambda n: transformers.MistralConfig(vocab_size=n, sliding_window=16, **GROUPED),
    "gemma3": lambda n: transformers.Gemma3TextConfig(vocab_size=n, sliding_window=16, head_dim=8, **GROUPED),
}
OTHERS: Final[Mapping[str, Callable[[int], Any]]] = {
    "bloom": lambda n: transformers.BloomConfig(vocab_size=n, hidden_size=32, n_layer=2, n_head=4),
    "gemma2": lambda n: transformers.Gemma2Config(vocab_size=n, head_dim=16, **GROUPED),
    "phi": lambda n: transformers.PhiConfig(vocab_size=n, **SIZES),
}


def random_peer(config: Any, *, seed: int = 0, spread: float = 0.2) -> Any:
    """A causal model of transformers in which every matrix, bias and gain matters."""
    peer = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in peer.parameters():
            noise = torch.empty(weight.shape).normal_(0.0, spread, generator=generator)
            weight.copy_(noise if weight.dim() > 1 else weight + noise)
    return peer.eval()


def save_peer(directory: Path, name: str, tokenizer: Tokenizer, *, seed: int = 0) -> Any:
    """The family's model, saved by transformers beside a tokenizer; the model itself."""
    peer = random_peer(FAMILIES[name](tokenizer.vocab_size), seed=seed)
    peer.save_pretrained(directory)
    tokenizer.save(directory)
    return peer
