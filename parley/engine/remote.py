"""Another program's engine behind our ports: any server that speaks OpenAI's API, in a process of its own.

`RemoteResponder` is a `ports.Responder`: conversations in, streamed text out, the server's own chat
template. `RemoteEngine` writes tokens after tokens as `engine.engine.Engine` does, for sampling that
learns or measures; it needs a server that takes and tells token ids (vLLM and ours: `return_token_ids`).
That it serves the weights one believes is for `logprob_gap` to say.

Not here: connections, repetitions, errors (`engine.client`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from parley.dialogue import Conversation
from parley.engine.client import Client, Events
from parley.engine.engine import Reply
from parley.engine.requests import Ended, Reason, Request, Token
from parley.engine.sampler import Completion
from parley.errors import ConfigError, NotFound, Unavailable
from parley.ports import Delta, Finish, FinishReason, ReleaseInfo, Sampling

AT_ONCE: Final = 32  # requests of bulk work that are under way together
LISTED_SECONDS: Final = 10.0  # a list of models is believed for so long
SEED_BITS: Final = 2**63 - 1  # what a server takes as a seed
STATE: Final = "remote"


class RemoteResponder:
    """Answers from a server's models, each a release of its own name. Safe to use from many threads.

    A `system_prompt` opens conversations that have none; "" leaves that to the server's template.
    """

    def __init__(self, client: Client, *, system_prompt: str = "") -> None:
        self._client, self._system_prompt = client, system_prompt
        self._lock = threading.Lock()
        self._listed: tuple[float, tuple[ReleaseInfo, ...]] = (-LISTED_SECONDS, ())

    def releases(self) -> Sequence[ReleaseInfo]:
        """The server's models, oldest first."""
        with self._lock:
            asked, found = self._listed
            if time.monotonic() - asked >= LISTED_SECONDS:
                found = tuple(sorted(_models(self._client), key=lambda one: (one.created, one.name)))
                self._listed = (time.monotonic(), found)
            return found

    def stream(
        self, conversation: Conversation, sampling: Sampling, *, release: str
    ) -> Iterator[Delta | Finish]:
        """Deltas, then one `Finish`; errors come from this call, before the first delta."""
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConfigError("there is nothing to answer: the conversation must end with a user turn")
        names = [one.name for one in self.releases()]
        if release not in names:
            raise NotFound(f"there is no release {release!r}; there are: {', '.join(names) or 'none yet'}")
        turns = [{"role": turn.role, "content": turn.text} for turn in conversation.messages]
        if self._system_prompt and conversation.system is None:
            turns.insert(0, {"role": "system", "content": self._system_prompt})
        body = {"model": release, "messages": turns, "stream": True, **_settings(sampling)}
        body["stream_options"] = {"include_usage": True}
        return _Spoken(self._client.stream("chat/completions", body))

    def close(self) -> None:
        """Close every connection."""
        self._client.close()


class _Spoken(Iterator[Delta | Finish]):
    """Text of a streamed answer; `close` hangs up."""

    def __init__(self, events: Events) -> None:
        self._events, self._parts = events, _spoken(events)

    def __next__(self) -> Delta | Finish:
        return next(self._parts)

    def close(self) -> None:
        self._events.close()


def _spoken(events: Events) -> Iterator[Delta | Finish]:
    pieces, reason = 0, ""
    usage: dict[str, int] = {}
    for event in events:
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            reason = choice.get("finish_reason") or reason
            if text := (choice.get("delta") or {}).get("content"):
                pieces += 1
                yield Delta(text)
    if not reason:
        raise Unavailable("the server ended an answer without saying why")
    ended: FinishReason = "length" if reason == "length" else "stop"
    yield Finish(ended, usage.get("prompt_tokens", 0), usage.get("completion_tokens", pieces))


def _settings(sampling: Sampling) -> dict[str, object]:
    """Sampling in OpenAI's words; what is left to chance is left to the server."""
    said: dict[str, object] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.seed is not None:
        said["seed"] = sampling.seed & SEED_BITS
    further = {
        "stop": list(sampling.stop),
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        **_beyond(sampling.top_k, sampling.stop_ids, sampling.logit_bias),
    }
    return said | {name: value for name, value in further.items() if value}


def _beyond(top_k: int, stop_ids: Iterable[int], bias: Mapping[int, float]) -> dict[str, object]:
    """What not every server knows: said only where it is used."""
    return {
        "top_k": top_k,
        "stop_token_ids": sorted(stop_ids),
        "logit_bias": {str(token): value for token, value in bias.items()},
    }


def _models(client: Client) -> Iterator[ReleaseInfo]:
    found = client.get("models").get("data")
    if not isinstance(found, list) or not found:
        raise Unavailable("the server lists no models")
    for model in found:
        yield ReleaseInfo(
            name=str(model["id"]),
            stage=STATE,
            run=str(model.get("owned_by", "")),
            created=int(model.get("created") or 0),
        )


# --- tokens --------------------------------------------------------------------------------------


class RemoteEngine:
    """One model of a server, as an engine: requests in, tokens out. Safe to use from many threads."""

    def __init__(self, client: Client, model: str) -> None:
        self._client, self._model = client, model

    def submit(self, request: Request) -> Reply:
        """A reply that is being written; what the server refuses comes from this call."""
        events = self._client.stream("completions", {**self._body(request), "stream": True})
        reply = _Heard(events)
        threading.Thread(target=_hear, args=(events, request, reply), daemon=True).start()
        return reply

    def complete(
        self,
        requests: Sequence[Request],
        *,
        at_once: int = AT_ONCE,
        seen: Callable[[int], None] = lambda done: None,
    ) -> list[Completion]:
        """A completion for every request, in their order; `seen` hears how many are done.

        Prompts that are equal follow each other, so that a server that keeps prefixes reads them once.
        """
        order = sorted(range(len(requests)), key=lambda n: requests[n].prompt)
        found: dict[int, Completion] = {}
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            done = pool.map(lambda n: (n, self._completion(requests[n])), order)
            for number, completion in done:
                found[number] = completion
                seen(len(found))
        return [found[number] for number in range(len(requests))]

    def logprob_gap(
        self, own: Callable[[Sequence[int], Sequence[int]], Sequence[float]], request: Request
    ) -> float:
        """How far the server's log-probabilities are from one's own, in nats, the largest over a reply.

        `own` gives those of the reply's tokens after a prompt. Large: other weights, or another format.
        """
        tokens = self._written(replace(request, logprobs=0))
        mine = own(request.prompt, [token.id for token in tokens])
        return max(
            abs(number - (token.logprob if token.logprob is not None else float("inf")))
            for number, token in zip(mine, tokens, strict=True)
        )

    def _completion(self, request: Request) -> Completion:
        answer = self._client.post("completions", self._body(request))
        tokens, reason = _tokens(_only(answer)), _reason(_only(answer))
        return Completion(tuple(token.id for token in tokens), reason == "stop")

    def _written(self, request: Request) -> list[Token]:
        return _tokens(_only(self._client.post("completions", self._body(request))))

    def _body(self, request: Request) -> dict[str, Any]:
        """A request in the words of OpenAI and vLLM."""
        said: dict[str, Any] = {
            "model": self._model,
            "prompt": list(request.prompt),
            "max_tokens": request.max_new_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed & SEED_BITS,
            "return_token_ids": True,
        }
        said |= {"logprobs": request.logprobs} if request.logprobs is not None else {}
        further = {
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
            **_beyond(request.top_k, request.stop_ids, request.logit_bias),
        }
        return said | {name: value for name, value in further.items() if value}


class _Heard(Reply):
    """A reply that a server writes; closing it hangs up."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def close(self) -> None:
        super().close()
        self._events.close()


def _hear(events: Events, request: Request, reply: _Heard) -> None:
    """Hand on what comes, in a thread of its own."""
    count = 0
    reason: Reason = "cancelled"
    try:
        for event in events:
            for choice in event.get("choices") or ():
                for token in _tokens(choice):
                    count += 1
                    reply.take(token)
                reason = _reason(choice) if choice.get("finish_reason") else reason
            if time.monotonic() >= request.deadline:
                events.close()
                reason = "deadline"
    except Exception as error:
        reply.end(error)
        return
    reply.end(Ended(reason, len(request.prompt), 0, count, (0, 0)))


def _only(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if not choices:
        raise Unavailable("the server's answer holds no choice")
    found: Mapping[str, Any] = choices[0]
    return found


def _reason(choice: Mapping[str, Any]) -> Reason:
    return "length" if choice.get("finish_reason") == "length" else "stop"


def _tokens(choice: Mapping[str, Any]) -> list[Token]:
    """The new tokens of a choice. `ConfigError` where the server keeps their ids to itself."""
    ids = choice.get("token_ids")
    if ids is None:
        if not choice.get("text"):
            return []
        raise ConfigError(
            "this server does not tell token ids (return_token_ids): it can chat, but not sample for training"
        )
    told = (choice.get("logprobs") or {}).get("token_logprobs") or [None] * len(ids)
    return [Token(number, logprob) for number, logprob in zip(ids, told, strict=True)]
