"""Histories and replies as tokens within a context, the same way in every stage.

Reward model and PPO must cut alike (rule P26): both come here.
"""

from __future__ import annotations

from typing import Final, Protocol

from parley.dialogue import Conversation, Message
from parley.errors import ConfigError
from parley.model.render import ChatFormat, render_prompt, with_system
from parley.model.tokenizer import Tokenizer

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

    Oldest turns go first; where the last user turn alone is too long, its middle goes. `ConfigError`
    for a history that does not end with a user's turn.
    """
    whole = with_system(history, speaker.chat_format.system_text)
    try:
        return render_prompt(whole, speaker.tokenizer, max_tokens=max_tokens)
    except ConfigError:
        if not history.messages or history.messages[-1].role != "user":
            raise
        shorter = _without_middle(speaker.tokenizer, whole, max_tokens)
        return render_prompt(shorter, speaker.tokenizer, max_tokens=max_tokens)


def exchange_tokens(
    speaker: Speaker, history: Conversation, reply: str, *, context: int
) -> tuple[list[int], list[bool]]:
    """History and reply with its stop token in at most `context` tokens, and which are the reply's."""
    answer = answer_tokens(speaker, reply, context=context)
    asked = history_tokens(speaker, history, max_tokens=context - len(answer))
    return [*asked, *answer], [False] * len(asked) + [True] * len(answer)


def answer_tokens(speaker: Speaker, reply: str, *, context: int) -> list[int]:
    """The reply with its stop token; it may take three quarters of the context, a longer one is cut
    and does not stop."""
    return [*speaker.tokenizer.encode(reply), speaker.tokenizer.end][: context * 3 // 4]


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
