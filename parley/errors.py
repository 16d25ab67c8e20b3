"""The tree of errors that `parley` raises on purpose.

    ParleyError
    ├── ConfigError      a recipe, flag or setting is wrong
    │   └── ContextExceeded  a prompt is longer than the model's context
    ├── ArtifactError    a sealed directory is missing, broken or of another run
    ├── DataError        a record of somebody's data is at fault: file, record, field
    ├── InvariantError   training numbers that cannot be right, with a diagnosis
    ├── NotFound         no such release, key or page
    ├── Gone             it was there and is not any more
    ├── Forbidden        the caller may not do this
    ├── Conflict         the thing exists already or changed meanwhile
    ├── Unacceptable     what a person sent breaks a rule
    │   └── TooLong      it is longer than is taken
    ├── Busy             too much is being done at once; says when to come again
    ├── Unavailable      something that this needs does not answer
    └── Blocked          moderation stopped it

Each message says what is wrong, which value, and what to do next. `cli.main` prints it as one
sentence and exits with 2; `service.common.problems` maps the tree to HTTP.
"""

from __future__ import annotations


class ParleyError(Exception):
    """What is wrong, which value, and what to do next: one sentence for a person."""


class ConfigError(ParleyError):
    """A recipe, a flag or a setting cannot be used."""


class ContextExceeded(ConfigError):
    """A prompt leaves no room in the model's context."""


class ArtifactError(ParleyError):
    """A sealed directory is missing, incomplete or not what its manifest says."""


class DataError(ParleyError):
    """Somebody's data is at fault.

    `file` is the path as the user gave it, `record` the 1-based line or row (0: the file as a
    whole), `field` the name of the field at fault ("" when the whole record is).
    """

    def __init__(self, reason: str, *, file: str = "", record: int = 0, field: str = "") -> None:
        self.reason, self.file, self.record, self.field = reason, file, record, field
        super().__init__(str(self))

    def __str__(self) -> str:
        where = [part for part in (self.file, f"record {self.record}" if self.record else "") if part]
        if self.field:
            where.append(f"field '{self.field}'")
        return ": ".join([", ".join(where), self.reason]) if where else self.reason


class InvariantError(ParleyError):
    """A training quantity broke a rule that holds whenever the code and the data are right."""


class NotFound(ParleyError):
    """There is no such thing here, or not for this caller."""


class Gone(ParleyError):
    """It was there, and is there no longer."""


class Forbidden(ParleyError):
    """The caller is known but may not do this, or is not known at all."""


class Conflict(ParleyError):
    """The thing exists already or was changed by somebody else meanwhile."""


class Unacceptable(ParleyError):
    """What a person sent breaks a rule, which the sentence names."""


class TooLong(Unacceptable):
    """What a person sent is longer than is taken."""


class Busy(ParleyError):
    """Too much is being done at once. Come again in `retry_after_seconds`."""

    def __init__(self, message: str, *, retry_after_seconds: int = 2) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class Unavailable(ParleyError):
    """Something that this needs does not answer; nothing was done."""


class Blocked(ParleyError):
    """Moderation stopped the message."""
