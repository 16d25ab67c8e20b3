"""Tiny real parts that tests share: a tokenizer, decoders with random weights, a workspace."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from parley.artifacts import Workspace
from parley.metrics import Pace, Silent
from parley.model.checkpoint import LoadedModel
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan

TEXTS = (
    "Mira lives in Oakby. Tom works as a baker and has a goat.",
    "Where does Mira live? Mira lives in Oakby.",
    "I do not know. Which Sally do you mean? You are right, I made a mistake.",
)


@cache
def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS * 3, 300)


def tiny_decoder(seed: int = 0, *, width: int = 32) -> Decoder:
    shape = DecoderConfig(
        vocab_size=tiny_tokenizer().vocab_size,
        width=width,
        layers=2,
        heads=4,
        kv_heads=2,
        mlp_width=48,
        max_positions=128,
    )
    return Decoder(shape).initialise(torch.Generator().manual_seed(seed))


def tiny_model(seed: int = 0) -> LoadedModel:
    return LoadedModel(tiny_decoder(seed), tiny_tokenizer(), ChatFormat())


def workspace(path: Path, *, label: str = "stage", seed: int = 1) -> Workspace:
    path.mkdir(parents=True, exist_ok=True)
    return Workspace(path, label, seed, NumericPlan(), Silent(), {}, Pace())
