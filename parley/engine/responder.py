"""`ports.Responder` and `ports.Completer` over checkpoint directories: what the service talks to.

Releases come from a catalog that is asked at every request, so a release cut while serving appears
at once. A model loads when first needed, with an engine of its own; the least recently used leave.
Linear layers run in fp32 and exactly: a served answer depends neither on what the training run found
fastest nor on what else is being answered.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from parley.dialogue import Conversation
from parley.engine.batcher import Batcher
from parley.engine.engine import Engine, EngineClosed, Handle
from parley.engine.packed import runner_for
from parley.engine.requests import Request, Sink
from parley.engine.slots import bytes_of_token, paged
from parley.engine.speech import Speech, Words
from parley.errors import ContextExceeded, NotFound
from parley.model.checkpoint import load_checkpoint
from parley.model.language_model import LanguageModel, ModelShape
from parley.model.render import ChatFormat, render_prompt, with_system
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.ports import Begun, Delta, Finish, Heard, Load, Order, ReleaseInfo, Sampling

Catalog = Callable[[], Sequence[tuple[ReleaseInfo, Path]]]
StartEngine = Callable[[LanguageModel, NumericPlan], Engine]

MOST_SLOTS: Final = 64
FEWEST_SLOTS: Final = 2
READING_ROWS: Final = 4
CACHE_BYTES: Final = 1 << 30  # of one engine, where every reply fills the model's context
PREFIX_BYTES: Final = 1 << 27
CLOSING_SECONDS: Final = 10


def start_engine(decoder: LanguageModel, plan: NumericPlan) -> Engine:
    """An engine for people's requests to a model, exact. It keeps a copy of the weights."""
    shape = decoder.config
    slots = slots_for(shape)

    def build() -> Batcher:
        return Batcher(
            runner_for(decoder, exact=True),
            slots=slots,
            columns=shape.max_positions,
            reading_rows=READING_ROWS,
            reserved=slots // 4,
            prefix_bytes=PREFIX_BYTES,
        )

    return Engine(build, threads=plan.threads)


def slots_for(shape: ModelShape) -> int:
    """How many replies at once, such that the cache stays within its bytes."""
    fit = CACHE_BYTES // (paged(shape.max_positions) * bytes_of_token(shape)) - READING_ROWS
    return min(max(fit, FEWEST_SLOTS), MOST_SLOTS)


@dataclass(frozen=True, slots=True)
class _Served:
    """What is left of a loaded model once its engine has packed the weights."""

    tokenizer: Tokenizer
    chat: ChatFormat
    context: int
    engine: Engine

    @classmethod
    def of(cls, directory: Path, plan: NumericPlan, start: StartEngine) -> _Served:
        model = load_checkpoint(directory, plan)
        context = model.decoder.config.max_positions
        return cls(model.tokenizer, model.chat_format, context, start(model.decoder, plan))

    def prompt(self, conversation: Conversation, max_tokens: int, system_prompt: str) -> list[int]:
        """The oldest turns are left out where the reply would lack room."""
        return self._rendered(conversation, system_prompt, self._room(max_tokens))

    def ordered(self, order: Order, system_prompt: str) -> tuple[int, ...]:
        """An order's prompt as tokens: a conversation in the chat format, a text as a document's beginning,
        ids as they stand. `ContextExceeded` where it leaves no room and may not be cut."""
        room = self._room(order.sampling.max_tokens) if order.cut else None
        if isinstance(order.prompt, Conversation):
            tokens = self._rendered(order.prompt, system_prompt, room)
        elif isinstance(order.prompt, str):
            text = self.tokenizer.encode(order.prompt)
            tokens = [self.tokenizer.document, *(text if room is None else text[-(room - 1) :])]
        else:
            tokens = list(order.prompt if room is None else order.prompt[-room:])
        if len(tokens) >= self.context:
            raise ContextExceeded(
                f"The prompt has {len(tokens)} tokens, and the model's context is {self.context} with the reply; "
                'send less, or "truncation": "auto" to have its beginning left out.'
            )
        return tuple(tokens)

    def request(self, prompt: Sequence[int], sampling: Sampling) -> Request:
        """For the engine; what the caller leaves to chance is drawn here."""
        return Request(
            prompt=tuple(prompt),
            max_new_tokens=min(sampling.max_tokens, self.context - len(prompt)),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            logit_bias=sampling.logit_bias,
            seed=secrets.randbits(64) if sampling.seed is None else sampling.seed,
            stop_ids=self.tokenizer.special_ids | sampling.stop_ids,
        )

    def speech(self, order: Order, prompt: tuple[int, ...], hear: Callable[[Heard], None]) -> Speech:
        """What says the reply to an order."""
        goes_on = not isinstance(order.prompt, Conversation)
        opening: list[Begun | Delta] = [Begun(prompt)]
        if order.echo and goes_on:
            opening.append(Delta(self.tokenizer.decode(prompt)))
        stop = order.sampling.stop
        return Speech(self.tokenizer, stop, hear, opening=opening, opens=not goes_on, tells=order.tell)

    def _room(self, max_tokens: int) -> int:
        return self.context - min(max_tokens, self.context // 4)

    def _rendered(self, conversation: Conversation, system_prompt: str, room: int | None) -> list[int]:
        chat = replace(self.chat, system_prompt=system_prompt) if system_prompt else self.chat
        whole = with_system(conversation, chat.system_text)
        return render_prompt(whole, self.tokenizer, max_tokens=sys.maxsize if room is None else room)


class CheckpointResponder:
    """Answers from whole checkpoints. Safe to use from many threads.

    A `system_prompt` takes the place of the operator's prompt saved in a checkpoint; "" leaves it.
    `kept` models stay in memory; `start` makes the engine of one that was loaded.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        system_prompt: str = "",
        plan: NumericPlan = NumericPlan(),  # noqa: B008 - a frozen value
        kept: int = 3,
        start: StartEngine = start_engine,
    ) -> None:
        self._start = start
        self._catalog = catalog
        self._system_prompt = system_prompt
        self._plan = replace(plan, linear="float32", bfloat16_width=0)
        self._kept = kept
        self._served: OrderedDict[Path, _Served] = OrderedDict()
        self._lock = threading.Lock()

    def releases(self) -> Sequence[ReleaseInfo]:
        """The releases that can answer now, oldest first."""
        return [info for info, _ in self._catalog()]

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        """Deltas, then one `Finish`; errors come from this call, before the first delta.

        At least a quarter of the context is kept for the reply (less if `max_tokens` is less):
        a longer history loses its oldest turns. `Busy` where too many requests wait.
        """
        words = Words()

        def prepare(served: _Served) -> tuple[Request, Sink]:
            prompt = served.prompt(conversation, sampling.max_tokens, self._system_prompt)
            return served.request(prompt, sampling), Speech(served.tokenizer, sampling.stop, words.hear)

        words.handle = self._hand_in(release, prepare)
        return words

    def complete(self, order: Order, hear: Callable[[Heard], None]) -> Callable[[], None]:
        """As in `ports.Completer`."""

        def prepare(served: _Served) -> tuple[Request, Sink]:
            prompt = served.ordered(order, self._system_prompt)
            request = replace(
                served.request(prompt, order.sampling), bulk=order.bulk, logprobs=order.logprobs
            )
            return request, served.speech(order, prompt, hear)

        return self._hand_in(order.release, prepare).cancel

    def loads(self) -> Sequence[Load]:
        """Of every engine that runs."""
        names = {directory: info.name for info, directory in self._catalog()}
        with self._lock:
            served = list(self._served.items())
        return [_load(names.get(directory, ""), one.engine) for directory, one in served]

    def close(self) -> None:
        """Ends every engine once its replies are written, or after ten seconds."""
        with self._lock:
            for served in self._served.values():
                served.engine.close(timeout_seconds=CLOSING_SECONDS)
            self._served.clear()

    def _hand_in(self, release: str, prepare: Callable[[_Served], tuple[Request, Sink]]) -> Handle:
        """Prompts are read without the lock: a long one keeps nobody waiting."""
        directory = self._find(release)
        while True:
            served = self._serving(directory)
            request, sink = prepare(served)
            try:
                return served.engine.hand_in(request, sink)
            except EngineClosed:
                continue  # it left the memory meanwhile, so it is loaded again

    def _serving(self, directory: Path) -> _Served:
        with self._lock:
            return self._load(directory)

    def _find(self, release: str) -> Path:
        found = {info.name: directory for info, directory in self._catalog()}
        if release not in found:
            raise NotFound(f"there is no release {release!r}; there are: {', '.join(found) or 'none yet'}")
        return found[release]

    def _load(self, directory: Path) -> _Served:
        if directory not in self._served:
            self._served[directory] = _Served.of(directory, self._plan, self._start)
        self._served.move_to_end(directory)
        while len(self._served) > self._kept:
            _, oldest = self._served.popitem(last=False)
            oldest.engine.close(timeout_seconds=0)
        return self._served[directory]


def _load(release: str, engine: Engine) -> Load:
    stats = engine.stats()
    return Load(
        release=release,
        waiting=stats.waiting,
        running=stats.running,
        slots=stats.slots,
        tokens_per_second=stats.tokens_per_second,
        refused=stats.refused,
        prompt_tokens=stats.prompt_tokens,
        reused_tokens=stats.prompt_reused,
        tokens=stats.tokens,
        steps=stats.steps,
    )
