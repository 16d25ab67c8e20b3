"""The same prompts, answered by every stage: what the figures look like as words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parley.reports.figures import many, number, signed
from parley.reports.html import Child, Html, join, origin, tag
from parley.reports.tables import Section, sources
from parley.reports.values import Evaluation, Exchange, RunReport, spoken

SPEAKERS: Final = {"user": "you", "assistant": "answer", "system": "system"}


def transcripts_section(report: RunReport) -> Section | None:
    """One block a prompt, one column a stage."""
    stages = [item for item in report.evaluations if item.transcripts]
    if not stages:
        return None
    asked: dict[tuple[tuple[str, str], ...], list[tuple[Evaluation, Exchange]]] = {}
    for stage in stages:
        for exchange in stage.transcripts:
            asked.setdefault(exchange.messages, []).append((stage, exchange))
    decoded = sorted({item.transcribed for item in stages if item.transcribed})
    how = f", decoded at {' and '.join(decoded)}" if decoded else ""
    first = f"The first {many(len(asked), 'prompt')} of the evaluation{how}; none was chosen for its answer."
    blocks = [_block(n, messages, given) for n, (messages, given) in enumerate(asked.items(), start=1)]
    return Section("transcripts", "Side by side", join(tag("p", first), sources(stages), blocks))


def _block(n: int, messages: Sequence[tuple[str, str]], given: Sequence[tuple[Evaluation, Exchange]]) -> Html:
    behaviour = next((exchange.behaviour for _, exchange in given if exchange.behaviour), "")
    asked = [said(role, words) for role, words in messages]
    replies = [_reply(stage, exchange) for stage, exchange in given]
    title = tag("h3", f"{n}", f" · {spoken(behaviour)}" if behaviour else "")
    return tag("article", title, asked, tag("div", replies, class_="replies"), class_="exchange")


def said(role: str, words: str) -> Html:
    """One turn of the history."""
    return tag("div", tag("b", SPEAKERS.get(role, role)), tag("bdi", words, dir="auto"), class_="said")


def _reply(stage: Evaluation, exchange: Exchange) -> Html:
    gold = (
        f"gold {signed(exchange.gold) if exchange.gold else number(0)}" if exchange.gold is not None else ""
    )
    words = exchange.reply.strip()
    shown: Child = tag("bdi", words, dir="auto") if words else tag("span", "(no words)", class_="nothing")
    by = tag("div", origin(stage.directory, stage.title), tag("span", gold), class_="by")
    return tag("div", by, tag("div", shown, class_="words"), class_="reply")
