"""A small tokenizer, and decoders whose weights are large enough for errors to show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from parley.model.decoder import Decoder, DecoderConfig
from parley.model.tokenizer import Tokenizer

TEXTS = (
    "Mira lives in Oakby. What animal does Tom have? Tom has a goat.",
    "I cannot help with that. Which Sally do you mean? I am sure.",
    "héllo wörld 😀 çığ 日本語 <|user|> {% if %} \r\n\t  spaces",
)

MakeDecoder = Callable[..., Decoder]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 400)


@pytest.fixture(scope="session")
def make_decoder(tokenizer: Tokenizer) -> MakeDecoder:
    def make(*, kv_heads: int = 4, tied: bool = True, gain: float = 3.0, seed: int = 0) -> Decoder:
        config = DecoderConfig(
            vocab_size=tokenizer.vocab_size,
            width=64,
            layers=2,
            heads=4,
            kv_heads=kv_heads,
            mlp_width=96,
            tied=tied,
            max_positions=128,
        )
        decoder = Decoder(config).initialise(torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for weight in decoder.parameters():
                weight.mul_(gain if weight.dim() > 1 else 1.1)
        return decoder

    return make
