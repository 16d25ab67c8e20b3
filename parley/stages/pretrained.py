"""The base model that somebody else pretrained: `base: {from: DIRECTORY or hub name}`.

Takes the place of fitting a tokenizer and of pretraining; everything behind it is the same walk.
"""

from __future__ import annotations

from parley.artifacts import Checkpoint, Snapshot, Vocabulary, Workspace
from parley.errors import ConfigError
from parley.model.adoption import START_WORDS, adopted_tokenizer
from parley.model.checkpoint import LoadedModel, load_pretrained, save_checkpoint
from parley.model.decoder import count_parameters
from parley.model.hub import Pretrained
from parley.model.render import ChatFormat
from parley.model.tokenizer import ASSISTANT, USER
from parley.stages.base import BaseConfig, bits_per_byte
from parley.stages.data import documents_of


def take_tokenizer(out: Workspace, pretrained: Pretrained) -> Vocabulary:
    """The model's own tokenizer, with the tokens of the chat format."""
    tokenizer, before = adopted_tokenizer(pretrained.path)
    tokenizer.save(out.path)
    return out.seal(
        Vocabulary, {"tokens": float(tokenizer.vocab_size), "added": float(tokenizer.vocab_size - before)}
    )


def take_base(
    out: Workspace, told: Snapshot, pretrained: Pretrained, chat: ChatFormat, config: BaseConfig
) -> Checkpoint:
    """The model as it came, with rows for the tokens that were added."""
    words = {**START_WORDS, USER: config.user_words, ASSISTANT: config.assistant_words}
    model = load_pretrained(pretrained.path, out.plan, chat_format=chat, words=words)
    _check_context(model, pretrained, config)
    save_checkpoint(out.path, model.decoder, model.tokenizer, chat)
    figures = {"parameters": float(count_parameters(model.decoder))}
    held_out = [document.text for document in documents_of(told, held_out=True)]
    if held_out:
        figures["bits_per_byte"] = bits_per_byte(
            model.decoder, model.tokenizer, held_out, row_tokens=config.row_tokens
        )
    return out.seal(Checkpoint, figures)


def _check_context(model: LoadedModel, pretrained: Pretrained, config: BaseConfig) -> None:
    room = model.decoder.config.max_positions
    if config.max_positions > room:
        raise ConfigError(
            f"base.max_positions is {config.max_positions}, but {pretrained.name} reads {room} tokens at "
            "most: lower it, and the limits of the other sections with it"
        )
