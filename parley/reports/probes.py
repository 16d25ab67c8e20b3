"""What the figures rest on: the reward models' accuracy, swapped cues, several wordings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from parley.evals.statistics import Estimate
from parley.reports.html import Child, join, origin, tag
from parley.reports.ladder import cells_table
from parley.reports.tables import Section, rate_cell, row, sources, table
from parley.reports.values import Decoding, Evaluation, RunReport, spoken

WORDINGS: Final = {
    "same": "the same answer in every wording",
    "all_right": "right in every wording",
    "know_flip": "right in one wording, “I do not know” in another",
}


def accuracy_section(report: RunReport) -> Section | None:
    """How often each round's reward model agreed with rankings that it had not seen."""
    found = report.accuracies
    if not found:
        return None
    lead = tag(
        "p",
        "Measured before every PPO on rankings that the reward model had not seen; ties are left out, n counts pairs, "
        "and the pairs of one ranking count as one cluster of the 95\u00a0% interval. A coin gets 50 %.",
    )
    sources_of = sorted({name for item in found for name in item.by_source})
    rows = [
        row(spoken(name), [rate_cell(item.by_source.get(name), with_n=True) for item in found])
        for name in sources_of
    ]
    rows.append(
        row("over all", [rate_cell(item.overall, with_n=True) for item in found], total=bool(sources_of))
    )
    heads: list[Child] = [origin(item.record.directory, item.record.label) for item in found]
    caption = (
        "Agreement with the trainers’ order ",
        tag("small", "share of pairs with 95\u00a0% interval, %"),
    )
    body = join(
        lead, table(caption, ["behaviour or source", *heads], rows), sources(item.record for item in found)
    )
    return Section("reward-model", "The reward model, before every PPO", body)


def cue_section(report: RunReport) -> Section | None:
    """The same prompts with the cue in the wording and the truth crossed."""
    lead = tag(
        "p",
        "The same prompts with the wording’s cue and the truth crossed. Where the rate follows the cue and not the "
        "truth, the behaviour rests on wording. “Seems” is what the wording says of the user, “is” the truth.",
    )
    body = _cells(report, "cue_swap", "Success ", "cue and truth")
    return Section("cues", "What rests on wording", join(lead, body)) if body else None


def wordings_section(report: RunReport) -> Section | None:
    """Whether one question, put in several ways, gets one answer."""
    lead = tag("p", "One fact asked for in several wordings, some of them never seen in training.")
    body = _cells(report, "wordings", "Facts ", "a fact is answered …")
    return Section("wordings", "One question, several wordings", join(lead, body)) if body else None


def _cells(report: RunReport, key: str, caption: str, first: str) -> Child:
    tables: list[Child] = []
    used: list[Evaluation] = []
    for name in report.decodings:
        stages = [
            item for item in report.golden if name in item.decodings and _probe(item.decodings[name], key)
        ]
        if stages:
            columns = [_probe(item.decodings[name], key) for item in stages]
            label = (caption, tag("small", f"at {name}, with 95\u00a0% interval, %"))
            tables.append(cells_table(label, first, stages, columns))
            used += [item for item in stages if item not in used]
    return [*tables, sources(used)] if tables else []


def _probe(decoding: Decoding, key: str) -> Mapping[str, Estimate]:
    if key == "cue_swap":
        return {_cell(name): estimate for name, estimate in decoding.cue_swap.items()}
    return {WORDINGS.get(name, name): estimate for name, estimate in decoding.wordings.items()}


def _cell(name: str) -> str:
    """`doubts/right/wrong` in words: the behaviours, what the cue says of the user, and what is true."""
    parts = name.split("/")
    if len(parts) != 3:
        return name
    behaviours, cue, truth = parts
    crossed = "" if cue == truth else " (crossed)"
    return f"{spoken(behaviours)}: seems {cue}, is {truth}{crossed}"
