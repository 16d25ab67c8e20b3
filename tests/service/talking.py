"""Talking to the service as the page does: turns, and the events of replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One event; `seq` is its id."""

    seq: int
    data: Json

    @property
    def type(self) -> str:
        return str(self.data["type"])


def begin(http: httpx.Client, **fields: Any) -> Json:
    """A new conversation."""
    return posted(http, "/api/conversations", fields, 201)


def say(
    http: httpx.Client, conversation_id: str, content: str, parent_id: str | None = None, **fields: Any
) -> Json:
    """A turn that is taken."""
    return posted(
        http, f"/api/conversations/{conversation_id}/turns", turn(content, parent_id, **fields), 202
    )


def turn(content: str, parent_id: str | None = None, **fields: Any) -> Json:
    return {"parent_id": parent_id, "content": content, "client_id": str(uuid4()), **fields}


def regenerate(http: httpx.Client, message_id: str, **fields: Any) -> Json:
    return posted(http, f"/api/messages/{message_id}/regenerate", {"client_id": str(uuid4()), **fields}, 202)


def stop(http: httpx.Client, generation_id: str) -> None:
    posted(http, f"/api/generations/{generation_id}/stop", {}, 202)


def posted(http: httpx.Client, path: str, body: Json, status: int) -> Json:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    made: Json = answer.json()
    return made


def opened(http: httpx.Client, conversation_id: str) -> Json:
    """The conversation as the page gets it."""
    answer = http.get(f"/api/conversations/{conversation_id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def message(http: httpx.Client, message_id: str) -> Json:
    answer = http.get(f"/api/messages/{message_id}")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


@contextmanager
def watching(http: httpx.Client, generation_id: str, *, last: int | None = None) -> Iterator[Iterator[Event]]:
    """The events of a reply, from the one after `last` on; leaving the block hangs up."""
    headers = {} if last is None else {"last-event-id": str(last)}
    with http.stream("GET", f"/api/generations/{generation_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        yield parsed(answer.iter_lines())


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    seq = 0
    for line in lines:
        if line.startswith("id: "):
            seq = int(line.removeprefix("id: "))
        elif line.startswith("data: "):
            yield Event(seq, json.loads(line.removeprefix("data: ")))


def watched(http: httpx.Client, generation_id: str, *, last: int | None = None) -> list[Event]:
    """All events, until the stream ends by itself."""
    with watching(http, generation_id, last=last) as events:
        return list(events)


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.type == "delta")


def reply_of(made: Json) -> tuple[str, str]:
    """The ids of a turn's first reply: message and generation."""
    return made["replies"][0]["id"], made["replies"][0]["generation_id"]


def answered(http: httpx.Client, conversation_id: str, content: str, parent_id: str | None = None) -> Json:
    """A turn, once its reply is there: the reply's message."""
    _, generation_id = reply_of(say(http, conversation_id, content, parent_id))
    finish: Json = watched(http, generation_id)[-1].data["message"]
    return finish
