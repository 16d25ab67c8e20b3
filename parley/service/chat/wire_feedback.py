"""What goes over the wire about feedback, votes between two answers, and consent."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from parley.service.common.wire import Answer, Ask, Text

Value = Literal["up", "down"]
Reason = Literal["harmful", "false", "unhelpful", "too_long", "other"]
Outcome = Literal["left", "right", "tie", "both_bad"]
Kind = Literal["drafts", "versus"]
MAX_NOTE: Final = 4_000
MAX_IDEAL: Final = 32_000


class FeedbackAsk(Ask):
    """`PUT /api/messages/{id}/feedback`: takes the place of what this person said before."""

    value: Value
    reasons: tuple[Reason, ...] = ()
    note: Text = Field("", max_length=MAX_NOTE)
    ideal: Text = Field("", max_length=MAX_IDEAL, description="What it should have said")

    @model_validator(mode="after")
    def _reasons_are_of_a_thumb_down(self) -> Self:
        if self.reasons and self.value == "up":
            raise ValueError("reasons are for a thumb down")
        return self


class Feedback(Answer):
    """What a person said of a message. `changed` is in seconds since 1970."""

    value: Value
    reasons: tuple[Reason, ...]
    note: str
    ideal: str
    changed: int


class FeedbackEntry(Answer):
    """One step of how feedback came to be; `feedback` is null where it was taken back."""

    at: int
    feedback: Feedback | None


class FeedbackHistory(Answer):
    """Oldest first."""

    entries: tuple[FeedbackEntry, ...]


class ObjectionAsk(Ask):
    """`PUT /api/messages/{id}/objection`: the warning or the block is wrong."""

    note: Text = Field("", max_length=MAX_NOTE)


class Objection(Answer):
    """What a person said against a verdict. `changed` is in seconds since 1970."""

    note: str
    changed: int


class ComparisonRow(Answer):
    """Two answers to one message, side by side. `revealed`: who wrote left and right, after the vote."""

    id: str
    kind: Kind
    left: str
    right: str
    outcome: Outcome | None
    revealed: tuple[str, str] | None


class VoteAsk(Ask):
    """`PUT /api/comparisons/{id}/vote`. A vote stays as it was given."""

    outcome: Outcome


class ConsentAsk(Ask):
    """`PUT /api/consent`; `text_version` is the one that the person read."""

    train: bool
    text_version: Text = Field(max_length=20)


class Consent(Answer):
    """Whether what a person says may be learnt from. `text` is in their language.

    `granted_version` is the text that the consent in force was given to, `changed` when it was
    given or withdrawn last, in seconds since 1970.
    """

    train: bool
    text_version: str
    granted_version: str | None
    changed: int | None
    text: str
