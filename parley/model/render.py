"""Conversation to tokens and loss mask: the chat format is written here and nowhere else.

    <role> text <end>   for every turn, in order; a prompt ends with an open <assistant>
    <document> text <end>   for plain text

`<role>` and `<end>` are single special ids. Texts are encoded one by one and the special ids put
between them, so nothing that somebody types can become one, and the rendering of a prefix is a
token prefix of the whole rendering (S2).

Training, rollouts, reward model and service all pass through these functions.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from parley.dialogue import ROLES, Conversation, Message, Role
from parley.errors import ConfigError, DataError
from parley.model.tokenizer import ASSISTANT, END, SYSTEM, Tokenizer

NAME_SLOT: Final = "{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFormat:
    """What a deployment says before the first turn. Saved with every checkpoint.

    `identity` may hold `{name}`; `system_prompt` is the operator's. Both empty: no system turn.
    """

    name: str = "Parley"
    identity: str = ""
    system_prompt: str = ""

    @property
    def system_text(self) -> str:
        """The default system turn: identity, then the operator's prompt."""
        parts = (self.identity.replace(NAME_SLOT, self.name), self.system_prompt)
        return "\n\n".join(part for part in parts if part)

    def jinja_template(self, end: str = END) -> str:
        """The chat template of `tokenizer_config.json`: what transformers' `apply_chat_template`
        makes of it equals `render` after `with_system`, wherever no text spells a special token.

        `end` is the text of the stop token."""
        default = json.dumps(self.system_text, ensure_ascii=False)
        lead = (
            "{%- if messages | length == 0 or messages[0]['role'] != 'system' -%}{{- '" + SYSTEM + "' + "
            + default + " + '" + end + "' -}}{%- endif -%}"
        )  # fmt: skip
        turns = (
            "{%- for message in messages -%}"
            "{{- '<|' + message['role'] + '|>' + message['content'] + '" + end + "' -}}"
            "{%- endfor -%}"
            "{%- if add_generation_prompt -%}{{- '" + ASSISTANT + "' -}}{%- endif -%}"
        )
        return (lead if self.system_text else "") + turns


@dataclass(frozen=True, slots=True)
class Rendered:
    """Tokens, and for each whether the loss is on it (S1)."""

    tokens: tuple[int, ...]
    mask: tuple[bool, ...]


def with_system(conversation: Conversation, system_text: str) -> Conversation:
    """The conversation with a system turn in front, unless it has one already or the text is empty."""
    if not system_text or conversation.system is not None:
        return conversation
    return Conversation((Message("system", system_text, "operator"), *conversation.messages))


def render(conversation: Conversation, tokenizer: Tokenizer, *, imitate: Collection[int] = ()) -> Rendered:
    """The tokens of every turn; the mask marks text and stop token of the imitated messages.

    `imitate` are message indices, as in `labels.Demonstration`.
    """
    texts = tokenizer.encode_batch([message.text for message in conversation.messages])
    return _join(conversation, texts, tokenizer, imitate)


def render_all(
    conversations: Sequence[Conversation], tokenizer: Tokenizer, *, imitate: Sequence[Collection[int]]
) -> list[Rendered]:
    """`render` of many conversations, encoded in one batch."""
    messages = chain.from_iterable(conversation.messages for conversation in conversations)
    texts = iter(tokenizer.encode_batch([message.text for message in messages]))
    return [
        _join(conversation, [next(texts) for _ in conversation.messages], tokenizer, marked)
        for conversation, marked in zip(conversations, imitate, strict=True)
    ]


def render_document(text: str, tokenizer: Tokenizer) -> Rendered:
    """Plain text for pretraining; the loss is on the text and its end."""
    tokens = (tokenizer.document, *tokenizer.encode(text), tokenizer.end)
    return Rendered(tokens, (False, *([True] * (len(tokens) - 1))))


def _join(
    conversation: Conversation, texts: Sequence[list[int]], tokenizer: Tokenizer, imitate: Collection[int]
) -> Rendered:
    for index in imitate:
        if not 0 <= index < len(texts) or conversation.messages[index].role != "assistant":
            raise DataError(f"message {index} is no assistant turn to imitate")
    tokens: list[int] = []
    mask: list[bool] = []
    for index, (message, text) in enumerate(zip(conversation.messages, texts, strict=True)):
        tokens += [role_id(message.role, tokenizer), *text, tokenizer.end]
        mask += [False, *([index in imitate] * (len(text) + 1))]
    return Rendered(tuple(tokens), tuple(mask))


def role_id(role: Role, tokenizer: Tokenizer) -> int:
    """The special token that opens a turn of this role."""
    return {"system": tokenizer.system, "user": tokenizer.user, "assistant": tokenizer.assistant}[role]


def render_prompt(conversation: Conversation, tokenizer: Tokenizer, *, max_tokens: int) -> list[int]:
    """The history, ending with an open assistant turn, in at most `max_tokens`.

    Too long a history loses its oldest turns, whole, and never begins with an answer whose
    question was dropped; the system turn and the last user turn stay. `ConfigError` where those
    two alone do not fit, or where no user turn stands at the end.
    """
    messages = conversation.messages
    if not messages or messages[-1].role != "user":
        raise ConfigError("there is nothing to answer: the conversation must end with a user turn")
    encoded = tokenizer.encode_batch([message.text for message in messages])
    turns = [
        [role_id(message.role, tokenizer), *text, tokenizer.end]
        for message, text in zip(messages, encoded, strict=True)
    ]
    head = 1 if conversation.system is not None else 0
    first = _first_kept(messages, [len(turn) for turn in turns], head, max_tokens)
    return [*chain.from_iterable((*turns[:head], *turns[first:])), tokenizer.assistant]


def _first_kept(messages: Sequence[Message], sizes: Sequence[int], head: int, max_tokens: int) -> int:
    """Index of the oldest turn that stays; `head` counts the system turn."""
    total = sum(sizes) + 1
    if total <= max_tokens:
        return head
    for index in range(head, len(messages)):
        if index > head and messages[index].role == "user" and total <= max_tokens:
            return index
        total -= sizes[index]
    excess = sum(sizes[:head]) + sizes[-1] + 1 - max_tokens
    raise ConfigError(
        f"the last message is {excess} tokens too long: with the system prompt it needs "
        f"{excess + max_tokens} tokens, and {max_tokens} fit; shorten it"
    )


def parse(tokens: Sequence[int], tokenizer: Tokenizer) -> Conversation:
    """The conversation that `render` made these tokens of, byte for byte; every author is `user`.

    `DataError` for tokens that no conversation renders to.
    """
    return Conversation(tuple(_turns(tokens, tokenizer)))


def _turns(tokens: Sequence[int], tokenizer: Tokenizer) -> Iterator[Message]:
    roles = {role_id(role, tokenizer): role for role in ROLES}
    at = 0
    while at < len(tokens):
        role = roles.get(tokens[at])
        if role is None:
            raise DataError(f"token {at} should open a turn but is {tokens[at]}")
        close = at + 1
        while close < len(tokens) and tokens[close] not in tokenizer.special_ids:
            close += 1
        if close == len(tokens) or tokens[close] != tokenizer.end:
            raise DataError(f"the turn that token {at} opens is not closed by a stop token")
        yield Message(role, _text(tokens[at + 1 : close], at, tokenizer))
        at = close + 1


def _text(ids: Sequence[int], at: int, tokenizer: Tokenizer) -> str:
    try:
        return tokenizer.decode_bytes(ids).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the turn that token {at} opens is not UTF-8") from error
