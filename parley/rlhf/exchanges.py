"""Histories and replies as tokens within a context, the same way in every stage.

Reward model and PPO must cut alike (rule P26): both come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from parley.dialogue import Conversation, Message
from parley.errors import ConfigError
from parley.labels import Comparison, Ranking
from parley.model.render import ChatFormat, render_prompt, with_system
from parley.model.tokenizer import Tokenizer
from parley.rlhf.batches import TokenSet

GAP: Final = " … "  # stands for the middle of a user's turn that was cut out


class Speaker(Protocol):
    """Whatever reads and writes conversations: a loaded policy, a loaded reward model."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to tokens."""
        ...

    @property
    def chat_format(self) -> ChatFormat:
        """What stands before the first turn."""
        ...


def history_tokens(speaker: Speaker, history: Conversation, *, max_tokens: int) -> list[int]:
    """The history with an open assistant turn, in at most `max_tokens`.

    Oldest turns go first; where the last user turn alone is too long, its middle goes.
    """
    whole = with_system(history, speaker.chat_format.system_text)
    try:
        return render_prompt(whole, speaker.tokenizer, max_tokens=max_tokens)
    except ConfigError:
        shorter = _without_middle(speaker.tokenizer, whole, max_tokens)
        return render_prompt(shorter, speaker.tokenizer, max_tokens=max_tokens)


def exchange_tokens(speaker: Speaker, history: Conversation, reply: str, *, context: int) -> list[int]:
    """History and reply with its stop token in at most `context` tokens.

    The reply may take three quarters of them; a longer one is cut and does not stop.
    """
    answer = [*speaker.tokenizer.encode(reply), speaker.tokenizer.end][: context * 3 // 4]
    return [*history_tokens(speaker, history, max_tokens=context - len(answer)), *answer]


def _without_middle(tokenizer: Tokenizer, history: Conversation, max_tokens: int) -> Conversation:
    """System turn and last user turn, the latter with `GAP` for its middle."""
    system = (history.system,) if history.system else ()
    last = history.messages[-1]
    ids = tokenizer.encode(last.text)
    keep = max_tokens
    while keep > 1:
        keep = keep * 7 // 8
        text = tokenizer.decode(ids[: keep // 2]) + GAP + tokenizer.decode(ids[len(ids) - keep // 2 :])
        shorter = Conversation((*system, Message("user", text, last.author)))
        if len(render_prompt(shorter, tokenizer, max_tokens=1 << 30)) <= max_tokens:
            return shorter
    raise ConfigError(f"the system prompt leaves no room for a user's turn within {max_tokens} tokens")


@dataclass(frozen=True, slots=True)
class RankedReplies:
    """Rankings as tokens: `replies[g]` are the examples of ranking g in `tokens`, `pairs[g]` its
    strict comparisons, which index those replies."""

    tokens: TokenSet
    replies: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[Comparison, ...], ...]

    def __len__(self) -> int:
        return len(self.replies)


def ranked_replies(rankings: Sequence[Ranking], speaker: Speaker, *, context: int) -> RankedReplies:
    """Every reply of every ranking with its history, in at most `context` tokens.

    Replies of one ranking whose tokens are the same (after cutting) are one example.
    """
    examples: list[tuple[int, ...]] = []
    replies: list[tuple[int, ...]] = []
    for ranking in rankings:
        tokens = [
            tuple(exchange_tokens(speaker, ranking.prompt, r.text, context=context)) for r in ranking.replies
        ]
        distinct = list(dict.fromkeys(tokens))
        replies.append(tuple(len(examples) + distinct.index(ids) for ids in tokens))
        examples += distinct
    laid_out = TokenSet.of((ids, [False] * len(ids)) for ids in examples)
    return RankedReplies(laid_out, tuple(replies), tuple(ranking.comparisons() for ranking in rankings))
