"""Errors → HTTP: one table, one shape.

The shape is OpenAI's `error` beside the fields of a problem document, so that one reader serves the
page and other people's clients.
Nothing of a request is repeated in an answer but the names of fields, shortened.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from parley import errors
from parley.service.common.wire import ErrorBody

log = logging.getLogger(__name__)
MAX_FIELD_NAME: Final = 80


class UnknownKey(errors.Forbidden):
    """A program without a good key."""


class NotSignedIn(errors.Forbidden):
    """A browser without a live session."""


class NoSuchRelease(errors.NotFound):
    """No release has this name."""


class NothingToAnswer(errors.ParleyError):
    """There is no release yet."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind of error looks over HTTP."""

    status: int
    type: str
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


REASONS: Final[Mapping[str, str]] = {
    "string_unicode": "the text holds half a character (a lone surrogate); write it anew",
    "json_invalid": "the request is no JSON",
}
"""Sentences in the place of pydantic's, by its type of error."""

INVALID: Final = Kind(400, "invalid_request_error")
UNACCEPTABLE: Final = Kind(422, "invalid_request_error", "unacceptable")
INTERNAL: Final = Kind(500, "server_error", "internal_error")
KINDS: Final[Mapping[type[errors.ParleyError], Kind]] = {
    UnknownKey: Kind(401, "invalid_request_error", "invalid_api_key", {"www-authenticate": "Bearer"}),
    NotSignedIn: Kind(401, "invalid_request_error", "not_signed_in"),
    NothingToAnswer: Kind(503, "server_error", "no_release", {"retry-after": "5"}),
    errors.Forbidden: Kind(403, "permission_error", "forbidden"),
    NoSuchRelease: Kind(404, "invalid_request_error", "model_not_found"),
    errors.NotFound: Kind(404, "invalid_request_error", "not_found"),
    errors.Gone: Kind(410, "invalid_request_error", "gone"),
    errors.Conflict: Kind(409, "invalid_request_error", "conflict"),
    errors.TooLong: Kind(413, "invalid_request_error", "too_long"),
    errors.Unacceptable: Kind(422, "invalid_request_error", "unacceptable"),
    errors.Busy: Kind(429, "rate_limit_error", "too_many_requests"),
    errors.Unavailable: Kind(503, "server_error", "unavailable", {"retry-after": "5"}),
    errors.Blocked: Kind(400, "invalid_request_error", "content_filter"),
    errors.ContextExceeded: Kind(400, "invalid_request_error", "context_length_exceeded"),
    errors.ConfigError: INVALID,
    errors.DataError: INVALID,
    errors.ParleyError: INTERNAL,
}


class Problem(JSONResponse):
    """An error as an answer (RFC 9457). Pure ASCII: a name that is no valid text must not break it."""

    media_type = "application/problem+json"

    def render(self, content: Any) -> bytes:
        """JSON bytes."""
        return json.dumps(content).encode("ascii")


def install(app: FastAPI) -> None:
    """Has `app` answer every error through this table."""
    app.add_exception_handler(errors.ParleyError, _on_parley_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_hang_up)


def describe(error: Exception) -> tuple[Kind, ErrorBody]:
    """How `error` looks from outside. What nobody raised on purpose is logged and stays inside."""
    kind = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), INTERNAL)
    if kind is INTERNAL:
        log_unexpected(error)
        return kind, _body(kind, "Something went wrong here. It has been logged; please try again.")
    if isinstance(error, errors.Busy):
        kind = replace(kind, headers={"retry-after": str(error.retry_after_seconds)})
    return kind, _body(kind, str(error))


def internal_problem() -> Response:
    """The answer where nothing better is known."""
    return _problem(INTERNAL, _body(INTERNAL, "Something went wrong here. It has been logged."))


def busy_problem() -> Response:
    """The answer to one request too many."""
    return _problem(
        *describe(errors.Busy("Too many requests are open; wait for some of them.", retry_after_seconds=1))
    )


def http_problem(status: int, message: str) -> Response:
    """The answer to a request that got no further than the door."""
    kind = Kind(status, "invalid_request_error")
    return _problem(kind, _body(kind, message))


def log_unexpected(error: BaseException) -> None:
    """Kind and place, without the message: it could hold what somebody said."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s\n%s", type(error).__name__, where)


def _body(kind: Kind, message: str, param: str | None = None, code: str | None = None) -> ErrorBody:
    return ErrorBody.model_construct(message=message, type=kind.type, param=param, code=code or kind.code)


def _problem(kind: Kind, body: ErrorBody) -> Response:
    content = {
        "type": f"urn:parley:{body.code or kind.type}",
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "detail": body.message,
        "error": dict(body),
    }
    return Problem(content, kind.status, headers=dict(kind.headers))


async def _on_parley_error(_request: Request, error: Exception) -> Response:
    return _problem(*describe(error))


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = Kind(error.status_code, "invalid_request_error", None, error.headers or {})
    return _problem(kind, _body(kind, error.detail or HTTPStatus(error.status_code).phrase))


async def _on_hang_up(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it; the log does


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    """400 for programs, as OpenAI does it; 422 for the page."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    invalid = INVALID if request.url.path.startswith("/v1/") else UNACCEPTABLE
    param = _field(first["loc"])
    if first["type"] == "extra_forbidden":
        message = f"The parameter '{param}' is not supported here; leave it out."
        return _problem(invalid, _body(invalid, message, param, "unsupported_parameter"))
    reason = REASONS.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ")
    return _problem(invalid, _body(invalid, f"{param}: {reason}" if param else reason, param))


def _field(location: Sequence[str | int]) -> str | None:
    """`("body", "messages", 0, "role")` → `messages[0].role`."""
    name = ""
    for part in location[1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part[:MAX_FIELD_NAME]}"
    return name.removeprefix(".") or None
