"""Finding what was said: `/api/search`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from parley.service.chat.wire_sharing import Hit, Hits
from parley.service.common.deps import Caller, WithSeams
from parley.service.common.wire import ErrorAnswer
from parley.store import search as store

PAGE: Final = 20

router = APIRouter(prefix="/api/search", tags=["search"], responses={"default": {"model": ErrorAnswer}})


@router.get("")
def search(
    caller: Caller,
    seams: WithSeams,
    q: Annotated[str, Query(max_length=400)],
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Hits:
    """This person's titles and messages that hold every word of `q`, the last one perhaps cut short.

    Words in quotes stand together. Case and accents do not matter, nor the dots of i and ı.
    """
    with seams.sessions() as session:
        found = store.search(session, q, owner_id=caller.id, limit=PAGE + 1, before=before)
    hits = tuple(Hit.model_validate(hit, from_attributes=True) for hit in found[:PAGE])
    return Hits(hits=hits, before=str(found[PAGE - 1].entry) if len(found) > PAGE else None)
