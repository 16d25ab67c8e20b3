"""Moderation verdicts as the JSON text in which rows keep them."""

from __future__ import annotations

import json
from dataclasses import asdict

from parley.labels import CategoryScore, Verdict


def verdict_to_json(verdict: Verdict) -> str:
    """The inverse of `verdict_from_json`."""
    return json.dumps(asdict(verdict), ensure_ascii=False)


def verdict_from_json(text: str) -> Verdict:
    """The verdict that was written down."""
    kept = json.loads(text)
    categories = tuple(CategoryScore(**category) for category in kept.pop("categories"))
    return Verdict(categories=categories, **kept)
