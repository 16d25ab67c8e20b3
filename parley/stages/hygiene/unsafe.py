"""What the shipped moderation rules say of the turns that would be imitated, and of ranked replies.

The rules are a floor that knows no context (`moderation/rules.py`), so that nothing is left out unless the
recipe says so. Rankings always stay: a reply that should not be said is what they teach, if it lost. What
people ask is not judged, nor are documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from parley.labels import Demonstration, Ranking, Verdict
from parley.moderation.rules import shipped_moderator
from parley.stages.hygiene.cleaning import T, Talk
from parley.stages.hygiene.ledger import Entry

UnsafePolicy = Literal["count", "drop"]

BLOCKED: Final = "an answer in it is blocked by the moderation rules"


def without_unsafe(entries: Sequence[Entry[T]], policy: UnsafePolicy) -> list[Entry[T]]:
    """Every entry that has an unsafe answer counted; with `drop`, without demonstrations of a blocked one."""
    return [entry for entry in entries if not _is_unfit(entry, _verdicts(entry.record), policy)]


def _verdicts(record: Talk) -> list[Verdict]:
    found = map(shipped_moderator().check, _answers(record))
    return [verdict for verdict in found if verdict.action != "allow"]


def _answers(record: Talk) -> Iterator[str]:
    if isinstance(record, Demonstration):
        yield from (record.conversation.messages[index].text for index in record.imitate)
    else:
        yield from (reply.text for reply in record.replies)


def _is_unfit(entry: Entry[Talk], verdicts: Sequence[Verdict], policy: UnsafePolicy) -> bool:
    for category in sorted({score.name for verdict in verdicts for score in verdict.categories}):
        entry.ledger.unsafe.setdefault(category, []).append(f"line {entry.line}")
    is_blocked = any(verdict.action == "block" for verdict in verdicts)
    if policy == "count" or not is_blocked or isinstance(entry.record, Ranking):
        return False
    entry.drop(BLOCKED)
    return True
