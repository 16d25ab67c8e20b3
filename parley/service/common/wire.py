"""What every request and answer model shares, and the one shape of an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A frozen model that we send."""

    model_config = ConfigDict(frozen=True)


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
    """The one shape of an error, under `/v1` and `/api` alike."""

    error: ErrorBody
