"""What trainers and users tell us: demonstrations, rankings, prompts; what moderation says. Pure values.

A ranking of K replies to one history is the native record of a human comparison, with ties
(the announcement's "two or more model responses ranked by quality"); pairs are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

from parley.dialogue import Conversation, Message

MIN_REPLIES: Final = 2
MAX_REPLIES: Final = 9  # InstructGPT ranked K = 4 to 9


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation and which of its assistant turns (message indices) are to be imitated."""

    conversation: Conversation
    imitate: tuple[int, ...]
    trainer: str
    source: str

    def __post_init__(self) -> None:
        if not self.imitate:
            raise ValueError("a demonstration needs at least one assistant turn to imitate")
        for index in self.imitate:
            if not 0 <= index < len(self.conversation.messages):
                raise ValueError(f"there is no message {index} to imitate")
            if self.conversation.messages[index].role != "assistant":
                raise ValueError(f"message {index} is not an assistant turn")

    @classmethod
    def of_all_turns(cls, conversation: Conversation, *, trainer: str, source: str) -> Demonstration:
        """Every assistant turn is imitated."""
        turns = tuple(n for n, message in enumerate(conversation.messages) if message.role == "assistant")
        return cls(conversation, turns, trainer, source)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reply `better` was preferred to reply `worse`; both index the ranking's replies."""

    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class Ranks:
    """One rank per reply: 1 is best, equal ranks tie."""

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(rank < 1 for rank in self.values):
            raise ValueError(f"ranks start at 1, got {min(self.values)}")

    def comparisons(self) -> tuple[Comparison, ...]:
        """All untied pairs, in the order of the replies."""
        return tuple(self._untied())

    def _untied(self) -> Iterator[Comparison]:
        for i, j in combinations(range(len(self.values)), 2):
            if self.values[i] != self.values[j]:
                yield Comparison(i, j) if self.values[i] < self.values[j] else Comparison(j, i)


Sign = Literal[">", "<", "="]


@dataclass(frozen=True, slots=True)
class Choice:
    """A person's choice between replies `left` and `right`: ">" left is better, "=" a tie."""

    left: int
    right: int
    sign: Sign


@dataclass(frozen=True, slots=True)
class Choices:
    """Pairwise choices that no ranking reproduces (ties that are not transitive)."""

    pairs: tuple[Choice, ...]

    def comparisons(self) -> tuple[Comparison, ...]:
        """The strict choices, in the order given."""
        return tuple(
            Comparison(c.left, c.right) if c.sign == ">" else Comparison(c.right, c.left)
            for c in self.pairs
            if c.sign != "="
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """K replies (2 to 9) to one history, judged by one trainer.

    Every reply is an assistant message whose `author` names who wrote it.
    """

    prompt: Conversation
    replies: tuple[Message, ...]
    judgement: Ranks | Choices
    trainer: str
    source: str

    def __post_init__(self) -> None:
        count = len(self.replies)
        if not MIN_REPLIES <= count <= MAX_REPLIES:
            raise ValueError(f"a ranking has {MIN_REPLIES} to {MAX_REPLIES} replies, got {count}")
        if isinstance(self.judgement, Ranks):
            if len(self.judgement.values) != count:
                raise ValueError(f"{count} replies need {count} ranks, got {len(self.judgement.values)}")
            return
        for choice in self.judgement.pairs:
            if not (0 <= choice.left < count and 0 <= choice.right < count and choice.left != choice.right):
                raise ValueError(f"no such pair of replies: {choice.left}, {choice.right}")

    def comparisons(self) -> tuple[Comparison, ...]:
        """The strict pairs; they stay one batch element of the reward model (InstructGPT, Eq. 1)."""
        return self.judgement.comparisons()

    def gaps(self) -> tuple[int, ...]:
        """How many ranks lie between the two replies of each strict pair; 1 where people only chose."""
        if isinstance(self.judgement, Choices):
            return (1,) * len(self.comparisons())
        ranks = self.judgement.values
        return tuple(ranks[pair.worse] - ranks[pair.better] for pair in self.comparisons())


@dataclass(frozen=True, slots=True)
class Prompt:
    """A history that waits for the assistant. `situation` is what its source needs to judge a
    reply to it (the micro-world's truth); "" where nobody but people can judge."""

    conversation: Conversation
    source: str
    situation: str = ""

    def __post_init__(self) -> None:
        messages = self.conversation.messages
        if not messages or messages[-1].role != "user":
            raise ValueError("a prompt ends with a user's turn")


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text for pretraining."""

    text: str
    source: str


Action = Literal["allow", "warn", "block"]


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """How much of one kind of unsafe content a text has, from 0 to 1."""

    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What moderation said about a text, under which version of its policy.

    `categories` has those that are not clean, worst first; `message` is a sentence for the person,
    "" where the text is allowed.
    """

    action: Action
    categories: tuple[CategoryScore, ...]
    policy: str
    message: str
