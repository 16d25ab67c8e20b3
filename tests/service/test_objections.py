"""What people say against moderation: kept with the message, changeable, their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, select

from parley.moderation.rules import read_rules
from parley.store.objections import ObjectionRow

from .conftest import Service, running
from .talking import begin, message, say

RULES: dict[str, Any] = {
    "version": "test-1",
    "unless": ["nothing at all"],
    "categories": [
        {"name": "weapons", "action": "block", "message": "No weapons.", "phrases": ["sharp sword"]}
    ],
}


def blocked(http: httpx.Client) -> str:
    """The id of a message that was blocked."""
    return str(say(http, begin(http)["id"], "a sharp sword")["user"]["id"])


def test_an_objection_is_kept_changed_and_taken_back(tmp_path: Path) -> None:
    with running(tmp_path, moderator=read_rules(RULES)) as service, service.browser() as http:
        id_ = blocked(http)
        path = f"/api/messages/{id_}/objection"
        assert message(http, id_)["objection"] is None
        assert http.put(path, json={}).json()["note"] == ""
        assert http.put(path, json={"note": "It was a toy."}).status_code == 200
        assert message(http, id_)["objection"]["note"] == "It was a toy."
        assert stored(service) == 1
        assert http.put(path, json={"note": "x" * 4_001}).status_code == 422
        assert http.delete(path).status_code == 204
        assert http.delete(path).status_code == 204
        assert message(http, id_)["objection"] is None


def test_an_objection_goes_with_its_conversation(tmp_path: Path) -> None:
    with running(tmp_path, moderator=read_rules(RULES)) as service, service.browser() as http:
        id_ = blocked(http)
        assert http.put(f"/api/messages/{id_}/objection", json={"note": "private"}).status_code == 200
        conversation = message(http, id_)["conversation_id"]
        assert http.delete(f"/api/conversations/{conversation}").status_code == 204
        assert stored(service) == 0


def test_where_nothing_was_said_against_a_message_there_is_nothing_to_object_to(service: Service) -> None:
    with service.browser() as http:
        turn = say(http, begin(http)["id"], "hello")
        answer = http.put(f"/api/messages/{turn['user']['id']}/objection", json={"note": "why"})
        assert answer.status_code == 409
        assert "nothing to object to" in answer.json()["detail"]


def stored(service: Service) -> int:
    with service.sessions() as session:
        return session.scalar(select(func.count()).select_from(ObjectionRow)) or 0
