"""What `recipes/stories.yaml` needs: stories260K as a directory, and dialogues that it tells itself.

    python -m tests.stories DIRECTORY

The model continues from nothing, 1,600 times at T=0.8. The first two sentences of a story become the
user's turn, what follows the assistant's, cut at the end of a sentence that is drawn among those between 20
and 50 words. So SFT teaches the chat format and to stop somewhere, and neither how long a reply is to be nor
how it is to end.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch

from parley.engine.sampler import sample
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.llama2c import convert_llama2c
from parley.numerics import NumericPlan

SOURCE: Final = Path(__file__).parents[2] / "shared" / "data" / "stories260k"
STORIES: Final = 1600
WORDS: Final = (20, 50)
SENTENCE: Final = re.compile(r'[^.!?]+[.!?]"?\s*')


def make_stories(directory: Path) -> None:
    """`model`, `dialogues.jsonl` and `texts.jsonl` in the directory; what is there is not made again."""
    model = directory / "model"
    if not (model / "config.json").exists():
        convert_llama2c(SOURCE / "stories260K.bin", SOURCE / "tok512.bin", model)
    if (directory / "dialogues.jsonl").exists():
        return
    told = list(dict.fromkeys(_told(load_checkpoint(model, NumericPlan()), STORIES)))
    rng = random.Random(0)
    turns = [found for story in told if (found := two_turns(story, rng))]
    rows = [{"messages": _messages(*found), "trainer": "stories260K"} for found in turns]
    _write(directory / "texts.jsonl", [{"text": story} for story in told])
    _write(directory / "dialogues.jsonl", rows)


def different(replies: Sequence[str]) -> float:
    """The share of triples of words, in all replies together, that occur once."""
    triples = Counter(
        triple
        for reply in replies
        for words in [reply.split()]
        for triple in zip(words, words[1:], words[2:], strict=False)
    )
    return sum(count == 1 for count in triples.values()) / max(1, triples.total())


def two_turns(story: str, rng: random.Random) -> tuple[str, str] | None:
    """Two sentences, and some of those behind them; None where none of their ends is in the range."""
    sentences = SENTENCE.findall(story)
    opening, rest = "".join(sentences[:2]).strip(), sentences[2:]
    starts = ["".join(rest[:n]).strip() for n in range(1, len(rest) + 1)]
    fitting = [text for text in starts if WORDS[0] <= len(text.split()) <= WORDS[1]]
    return (opening, rng.choice(fitting)) if fitting else None


def _told(model: LoadedModel, count: int) -> Iterator[str]:
    """Stories up to their end, or to their last whole sentence."""
    begin = model.tokenizer.document
    for done in sample(
        model.decoder,
        [[begin]] * count,
        max_new_tokens=200,
        temperature=0.8,
        end_id=begin,  # the model opens the next story where one is over
        generator=torch.Generator().manual_seed(0),
        batch_size=256,
    ):
        yield "".join(SENTENCE.findall(model.tokenizer.decode(done.tokens))).strip()


def _messages(asked: str, answered: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    make_stories(Path(sys.argv[1]))
