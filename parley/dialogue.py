"""Messages and conversations: pure values, no ids, no tokens.

How a conversation becomes tokens stands in `model.render` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["system", "user", "assistant"]
ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")

USER: Final = "user"  # the author of a message typed by an ordinary person


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `author` is `user`, `trainer:NAME` or the name of the release that wrote it."""

    role: Role
    text: str
    author: str = USER

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"a message's role is one of {', '.join(ROLES)}, not {self.role!r}")


@dataclass(frozen=True, slots=True)
class Conversation:
    """An optional system message, then turns of user and assistant in any order."""

    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        if any(message.role == "system" for message in self.messages[1:]):
            raise ValueError("only the first message may be the system message")

    def reply(self, text: str, *, author: str) -> Conversation:
        """The conversation with one more assistant turn."""
        return Conversation((*self.messages, Message("assistant", text, author)))

    def ask(self, text: str, *, author: str = USER) -> Conversation:
        """The conversation with one more user turn."""
        return Conversation((*self.messages, Message("user", text, author)))

    @property
    def system(self) -> Message | None:
        """The system message, where there is one."""
        first = self.messages[:1]
        return first[0] if first and first[0].role == "system" else None

    def before(self, index: int) -> Conversation:
        """The history of message `index`: everything that stands before it."""
        return Conversation(self.messages[:index])


def dialogue(turns: Sequence[str], *, author: str = USER) -> Conversation:
    """Turns that alternate between user (first) and assistant, all by one author."""
    return Conversation(
        tuple(Message("assistant" if n % 2 else "user", text, author) for n, text in enumerate(turns))
    )
