"""What a policy still remembers: how well it predicts held-out texts and dialogues, source by source.

Measured after every stage, so that what later training costs (the alignment tax) stands beside what it
brings. Dialogues count their imitated turns alone, as fine-tuning does.
"""

from __future__ import annotations

import bz2
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from parley.artifacts import Snapshot
from parley.labels import Demonstration
from parley.model.checkpoint import LoadedModel
from parley.stages.data import demonstrations_of, documents_of
from parley.stages.likelihood import document_tokens, total_logprob
from parley.stages.sft import demonstration_tokens


def remembered(model: LoadedModel, told: Snapshot, *, row_tokens: int) -> dict[str, dict[str, Any]]:
    """By source: nats and bytes of `texts`, with bits per byte beside those of bz2, which compresses all of
    them together; nats and tokens of `dialogues`, with the loss in nats a token. Every piece of
    `row_tokens` starts without context."""
    return {
        "texts": _texts(model, told, row_tokens),
        "dialogues": _dialogues(model, told, row_tokens),
    }


def pooled(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Bits per byte of all texts and loss on all dialogues, each where there are any."""
    figures: dict[str, float] = {}
    for kind, unit, name, scale in (
        ("texts", "bytes", "bits_per_byte", math.log(2)),
        ("dialogues", "tokens", "dialogue_loss", 1.0),
    ):
        parts = found[kind].values()
        if parts:
            nats, size = sum(part["nats"] for part in parts), sum(part[unit] for part in parts)
            figures[name] = nats / scale / size
    return figures


def _texts(model: LoadedModel, told: Snapshot, row_tokens: int) -> dict[str, Any]:
    texts: dict[str, list[str]] = defaultdict(list)
    for document in documents_of(told, held_out=True):
        texts[document.source].append(document.text)
    found = {}
    for source, here in sorted(texts.items()):
        examples = document_tokens(here, model.tokenizer, row_tokens=row_tokens)
        nats = -total_logprob(model.decoder, examples, pad=model.tokenizer.pad, row_tokens=row_tokens)
        whole = "".join(here).encode()
        found[source] = {
            "nats": nats,
            "bytes": len(whole),
            "bits_per_byte": nats / math.log(2) / len(whole),
            "bz2_bits_per_byte": 8 * len(bz2.compress(whole)) / len(whole),
        }
    return found


def _dialogues(model: LoadedModel, told: Snapshot, row_tokens: int) -> dict[str, Any]:
    talks: dict[str, list[Demonstration]] = defaultdict(list)
    for demonstration in demonstrations_of(told, held_out=True):
        talks[demonstration.source].append(demonstration)
    found = {}
    for source, here in sorted(talks.items()):
        examples = demonstration_tokens(here, model, row_tokens=row_tokens)
        size = int(examples.mask.sum())
        if size:
            nats = -total_logprob(model.decoder, examples, pad=model.tokenizer.pad, row_tokens=row_tokens)
            found[source] = {"nats": nats, "tokens": size, "loss": nats / size}
    return found
