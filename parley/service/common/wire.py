"""What every request and answer model shares, and the one shape of an error."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_ID: Final = 100


def storable(text: str) -> str:
    """The text, if a database can keep it."""
    if "\x00" in text:
        raise ValueError("the text holds a NUL character; take it out")
    return text


Text = Annotated[str, AfterValidator(storable)]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(storable)]


class Answer(BaseModel):
    """A frozen model that we send; it always sends every field, and the OpenAPI document says so."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class Ask(BaseModel):
    """A frozen model that we receive: an unknown field is an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ErrorBody(Answer):
    """What went wrong, in OpenAI's words; `param` names the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(Answer):
    """The one shape of an error, under `/v1` and `/api` alike: a problem document (RFC 9457) and OpenAI's.

    `detail` is a sentence for the person. In a stream there is `error` alone.
    """

    type: str | None = None
    title: str | None = None
    status: int | None = None
    detail: str | None = None
    error: ErrorBody
