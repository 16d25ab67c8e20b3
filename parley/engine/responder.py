"""`ports.Responder` over checkpoint directories: what the service talks to.

Releases come from a catalog that is asked at every request, so a release cut while serving appears
at once. Models load when first needed and the least recently used leave. Linear layers run in
fp32: a served answer does not depend on what the training run found fastest.
"""

from __future__ import annotations

import codecs
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from parley.dialogue import Conversation
from parley.engine.sampler import stream
from parley.errors import NotFound
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.model.render import render_prompt, with_system
from parley.numerics import NumericPlan
from parley.ports import Delta, Finish, FinishReason, ReleaseInfo, Sampling

Catalog = Callable[[], Sequence[tuple[ReleaseInfo, Path]]]


class CheckpointResponder:
    """Answers from whole checkpoints. Safe to use from many threads.

    A `system_prompt` takes the place of the operator's prompt saved in a checkpoint; "" leaves it.
    `kept` models stay in memory.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        system_prompt: str = "",
        plan: NumericPlan = NumericPlan(),  # noqa: B008 - a frozen value
        kept: int = 3,
    ) -> None:
        self._catalog = catalog
        self._system_prompt = system_prompt
        self._plan = replace(plan, linear="float32")
        self._kept = kept
        self._models: OrderedDict[Path, LoadedModel] = OrderedDict()
        self._lock = threading.Lock()

    def releases(self) -> Sequence[ReleaseInfo]:
        """The releases that can answer now, oldest first."""
        return [info for info, _ in self._catalog()]

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        """Deltas, then one `Finish`; errors come from this call, before the first delta.

        At least a quarter of the context is kept for the reply (less if `max_tokens` is less):
        a longer history loses its oldest turns.
        """
        model = self._load(self._find(release))
        prompt = self._prompt(model, conversation, sampling.max_tokens)
        room = min(sampling.max_tokens, model.decoder.config.max_positions - len(prompt))
        tokens = stream(
            model.decoder,
            prompt,
            max_new_tokens=room,
            temperature=sampling.temperature,
            end_id=model.tokenizer.end,
            generator=_generator(sampling.seed, self._plan.device),
            top_p=sampling.top_p,
        )
        return _spoken(tokens, model, len(prompt), tuple(filter(None, sampling.stop)))

    def _prompt(self, model: LoadedModel, conversation: Conversation, max_tokens: int) -> list[int]:
        chat = model.chat_format
        if self._system_prompt:
            chat = replace(chat, system_prompt=self._system_prompt)
        context = model.decoder.config.max_positions
        room = context - min(max_tokens, context // 4)
        return render_prompt(with_system(conversation, chat.system_text), model.tokenizer, max_tokens=room)

    def _find(self, release: str) -> Path:
        found = {info.name: directory for info, directory in self._catalog()}
        if release not in found:
            raise NotFound(f"there is no release {release!r}; there are: {', '.join(found) or 'none yet'}")
        return found[release]

    def _load(self, directory: Path) -> LoadedModel:
        with self._lock:
            if directory not in self._models:
                self._models[directory] = load_checkpoint(directory, self._plan)
            self._models.move_to_end(directory)
            while len(self._models) > self._kept:
                self._models.popitem(last=False)
            return self._models[directory]


def _generator(seed: int | None, device: str) -> torch.Generator:
    generator = torch.Generator(device=device)
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _spoken(
    tokens: Iterator[int], model: LoadedModel, prompt_tokens: int, stop: tuple[str, ...]
) -> Iterator[Delta | Finish]:
    """Text of the tokens up to the stop token, another special token or a stop string.

    Bytes that are not yet a character wait; those of a reply cut short are dropped.
    """
    characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pending, count = "", 0
    reason: FinishReason = "length"
    for count, token in enumerate(tokens, start=1):
        ended = token in model.tokenizer.special_ids
        if not ended:
            pending += characters.decode(model.tokenizer.decode_bytes([token], opens=count == 1))
            ready, pending, ended = held_back(pending, stop)
            yield from _said(ready)
        if ended:
            reason = "stop"
            break
    yield from _said(pending)
    yield Finish(reason, prompt_tokens, count)


def _said(text: str) -> Iterator[Delta]:
    if text:
        yield Delta(text)


def held_back(text: str, stop: Sequence[str]) -> tuple[str, str, bool]:
    """What may be said, what must wait because it may begin a stop string, and whether one stands
    in the text (then everything before the first is said, and nothing waits)."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    if places:
        return text[: min(places)], "", True
    waiting = max((_overlap(text, word) for word in stop), default=0)
    cut = len(text) - waiting
    return text[:cut], text[cut:], False


def _overlap(text: str, word: str) -> int:
    """Length of the longest end of the text that begins the word."""
    longest = min(len(text), len(word) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(word[:size])), 0)
