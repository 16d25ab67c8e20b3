"""A small tokenizer and decoder to sample from."""

from __future__ import annotations

import pytest
import torch

from parley.model.decoder import Decoder, DecoderConfig
from parley.model.tokenizer import Tokenizer

TEXTS = (
    "Mira lives in Oakby. Tom has a goat. 😀 日本語 héllo",
    "I cannot help with that. Which Sally do you mean?",
)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 330)


@pytest.fixture(scope="session")
def decoder(tokenizer: Tokenizer) -> Decoder:
    """Weights large enough that the next token depends on all that went before."""
    config = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=48,
        layers=2,
        heads=3,
        kv_heads=3,
        mlp_width=96,
        max_positions=96,
    )
    decoder = Decoder(config).initialise(torch.Generator().manual_seed(3))
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(4.0 if weight.dim() > 1 else 1.0)
    return decoder
