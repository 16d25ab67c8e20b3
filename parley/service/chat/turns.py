"""Taking a turn, having a reply written again, watching replies being written, stopping them."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from parley import dialogue
from parley.errors import TooLong, Unacceptable, Unavailable
from parley.labels import Verdict
from parley.ports import Sampling
from parley.service.chat.answers import turn_answer
from parley.service.chat.viewing import Viewing
from parley.service.chat.wire import GenerationEvent, RegenerateAsk, Turn, TurnAsk
from parley.service.common.deps import Caller, Seams, WithSeams, person
from parley.service.common.sessions import signed_in
from parley.service.common.sse import HEADERS
from parley.service.common.wire import ErrorAnswer, Id
from parley.service.replies.window import Unchecked, judge
from parley.store import conversations, generations, messages, turns
from parley.store.conversations import StoredConversation
from parley.store.database import writing
from parley.store.messages import branch
from parley.store.turns import Answering, NewTurn, Side, StoredTurn

MAX_SEQ: Final = 2**31 - 1


class Events(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


router = APIRouter(
    prefix="/api",
    tags=["turns"],
    dependencies=[Depends(person)],
    responses={"default": {"model": ErrorAnswer}},
)


@router.post("/conversations/{conversation_id}/turns", status_code=202)
def take_turn(conversation_id: Id, ask: TurnAsk, caller: Caller, seams: WithSeams) -> Turn:
    """Writes down what the person said and has it answered; the replies are written from now on."""
    _refuse_too_long(ask.content, seams)
    with seams.sessions() as session:
        conversation = conversations.get_conversation(session, conversation_id, owner_id=caller.id)
    verdict = _judged(ask.content, seams)
    answering, side = _plan(ask, conversation, caller.id, seams) if verdict.action != "block" else ((), None)
    seams.desk.refuse_if_full(len(answering))
    turn = NewTurn(
        conversation_id=conversation_id,
        parent_id=ask.parent_id,
        content=ask.content,
        client_id=ask.client_id,
        verdict=verdict,
        answering=answering,
        side=side,
    )
    with writing(seams.sessions) as session:
        made = turns.begin_turn(
            session,
            turn,
            owner_id=caller.id,
            limits=seams.settings.tree,
            writer=seams.desk.name,
            now=int(time.time()),
        )
        history = _history(session, made, seams)
        answer = turn_answer(session, made, owner_id=caller.id)
    seams.desk.begin(made.to_write, history)
    return answer


@router.post("/messages/{message_id}/regenerate", status_code=202)
def regenerate(message_id: Id, ask: RegenerateAsk, caller: Caller, seams: WithSeams) -> Turn:
    """Has a reply written again, beside the one that there is."""
    with seams.sessions() as session:
        old = messages.get_message(session, message_id, owner_id=caller.id)
        conversation = conversations.get_conversation(session, old.conversation_id, owner_id=caller.id)
    answering = _answering(ask.release or conversation.release, ask.temperature, caller.id, seams)
    seams.desk.refuse_if_full(1)
    with writing(seams.sessions) as session:
        made = turns.begin_regeneration(
            session,
            message_id,
            answering,
            client_id=ask.client_id,
            owner_id=caller.id,
            limits=seams.settings.tree,
            writer=seams.desk.name,
            now=int(time.time()),
        )
        history = _history(session, made, seams)
        answer = turn_answer(session, made, owner_id=caller.id)
    seams.desk.begin(made.to_write, history)
    return answer


@router.get(
    "/generations/{generation_id}/events",
    response_class=Events,
    responses={200: {"model": GenerationEvent}, 204: {"description": "There is nothing after that event"}},
)
async def watch(
    generation_id: Id,
    request: Request,
    caller: Caller,
    seams: WithSeams,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ)] = 0,
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """The events of a reply, from its first on, or from the one after `Last-Event-ID` or `after`."""
    seen = int(last_event_id) if last_event_id.isdecimal() and len(last_event_id) < 10 else after
    generation = await run_in_threadpool(_generation, generation_id, caller.id, seams)
    if generation.state != "pending" and seen >= generation.last_seq:
        return Response(status_code=204)
    viewing = Viewing(
        seams.sessions,
        seams.settings,
        generation_id=generation_id,
        owner_id=caller.id,
        after=seen,
        is_allowed=lambda: _is_still(caller.id, request, seams),
    )
    return Events(viewing.lines(seams.desk.feed(generation_id)), headers=HEADERS)


@router.post("/generations/{generation_id}/stop", status_code=202)
def stop(generation_id: Id, caller: Caller, seams: WithSeams) -> None:
    """Ends a reply after the token at hand; one that has ended stays as it is."""
    _generation(generation_id, caller.id, seams)
    with writing(seams.sessions) as session:
        generations.ask_to_stop(session, [generation_id])
    seams.desk.stop([generation_id])


def _generation(generation_id: str, owner_id: str, seams: Seams) -> generations.Generation:
    with seams.sessions() as session:
        return generations.get_generation(session, generation_id, owner_id=owner_id)


def _is_still(person_id: str, request: Request, seams: Seams) -> bool:
    found = signed_in(request, seams.sessions, seams.settings)
    return found is not None and found.id == person_id


def _refuse_too_long(content: str, seams: Seams) -> None:
    limit = seams.settings.max_message_bytes
    if len(content.encode()) > limit:
        raise TooLong(f"A message is at most {limit // 1024} kB long; send it in parts.")
    if not content.strip():
        raise Unacceptable("The message is empty.")


def _judged(content: str, seams: Seams) -> Verdict:
    try:
        return judge(seams.moderator, content)
    except Unchecked:
        raise Unavailable("Your message could not be checked, so it was not sent. Try again.") from None


def _plan(
    ask: TurnAsk, conversation: StoredConversation, person: str, seams: Seams
) -> tuple[tuple[Answering, ...], Side | None]:
    """Who answers: the releases that were named, the conversation's, or the default one; at times twice."""
    names = ask.releases or (conversation.release,)
    answering = tuple(_answering(name, ask.temperature, person, seams) for name in names)
    if len(answering) == 2:
        if answering[0].release == answering[1].release:
            raise Unacceptable("Two different releases can be compared; name another one.")
        return answering, Side("versus", _coin())
    if conversation.kind == "chat" and not ask.releases and _lot(seams.settings.drafts_share):
        return answering * 2, Side("drafts", _coin())
    return answering, None


def _answering(release: str | None, temperature: float | None, person: str, seams: Seams) -> Answering:
    sampling: Sampling = seams.settings.sampling
    if temperature is not None:
        sampling = replace(sampling, temperature=temperature)
    return Answering(seams.release(release, person=person).name, sampling)


def _history(session: Session, turn: StoredTurn, seams: Seams) -> dialogue.Conversation:
    """What a release is given: what was blocked, taken back or never written is not there."""
    above = turn.user.parent_id
    said = branch(session, above, limit=seams.settings.history_messages) if above and turn.to_write else ()
    return dialogue.Conversation(
        tuple(
            dialogue.Message("user", one.content)
            if one.role == "user"
            else dialogue.Message("assistant", one.content, one.release or dialogue.USER)
            for one in (*said, turn.user)
            if one.content
        )
    )


def _coin() -> bool:
    return bool(secrets.randbits(1))


def _lot(share: float) -> bool:
    return secrets.randbelow(1_000_000) < share * 1_000_000
