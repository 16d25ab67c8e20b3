"""What people do on the chat's screen, in the words of its tests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from playwright.sync_api import Locator, Page, expect
from sqlalchemy import insert

from parley.store.conversations import ConversationRow
from parley.store.messages import MessageRow
from parley.store.schema import new_id

from .conftest import Service

BOX: Final = "Message parley"
SEARCH: Final = "Search"


def box(page: Page) -> Locator:
    return page.get_by_role("textbox", name=BOX)


def say(page: Page, words: str) -> None:
    box(page).fill(words)
    box(page).press("Enter")


def replies(page: Page) -> Locator:
    return page.locator("article.reply")


def sees_reply(page: Page, words: str) -> None:
    """The last reply is complete, and this is what it says."""
    expect(replies(page).last.locator(".markdown")).to_have_text(words)
    expect(replies(page).last).to_have_attribute("aria-busy", "false")


def talk(page: Page, words: str, release: str = "micro-sft") -> None:
    """Says something and waits until it was answered."""
    say(page, words)
    sees_reply(page, f"{release}: {words}")


def history(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Conversations").get_by_role("link")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def has_focus_within(page: Page, selector: str) -> None:
    expect(page.locator(f"{selector}:focus-within")).to_have_count(1)


def conversations(service: Service, owner: str, titles: Sequence[str], *, seconds_apart: int) -> list[str]:
    """Writes conversations with these titles straight into the database, the first one newest."""
    now = int(time.time())
    ids = [new_id() for _ in titles]
    rows = [
        {
            "id": id_,
            "owner_id": owner,
            "title": title,
            "created": now - place * seconds_apart,
            "updated": now - place * seconds_apart,
            "training_use": "inherit",
            "closed": None,
            "kind": "chat",
        }
        for place, (id_, title) in enumerate(zip(ids, titles, strict=True))
    ]
    with service.sessions.begin() as session:
        session.execute(insert(ConversationRow), rows)
    return ids


def messages(service: Service, conversation: str, said: Sequence[str]) -> list[str]:
    """Writes one branch into a conversation, from its root; the person speaks first. Returns the ids."""
    now = int(time.time())
    ids = [new_id() for _ in said]
    rows = [
        {
            "id": id_,
            "conversation_id": conversation,
            "parent_id": ids[place - 1] if place else None,
            "depth": place + 1,
            "role": "assistant" if place % 2 else "user",
            "content": text,
            "state": "complete",
            "author_kind": "model" if place % 2 else "user",
            "release": "micro-sft" if place % 2 else None,
            "created": now,
        }
        for place, (id_, text) in enumerate(zip(ids, said, strict=True))
    ]
    with service.sessions.begin() as session:
        session.execute(insert(MessageRow), rows)
        session.query(ConversationRow).filter_by(id=conversation).update({"head_id": ids[-1]})
    return ids
