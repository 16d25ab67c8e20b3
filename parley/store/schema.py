"""What all tables share: the declarative base, how ids are made, how secrets are made and kept.

A secret is 256 random bits. It is kept as its SHA-256 alone: a slow password hash would protect
guessable secrets, and these are not. Looking one up is one indexed search for the hash, the same
work whether or not it is there, and what its timing could tell is about a hash, not a secret.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
import uuid
from typing import Final

from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase

SECRET_BYTES: Final = 32
ID: Final = String(36)
"""The type of every column that holds an id of `new_id`."""

_stamp_lock: Final = threading.Lock()
_last_stamp = 0


class Table(DeclarativeBase):
    """The base of every table."""


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, a 12-bit counter, 62 random bits.

    Ids made in one process sort in the order in which they were made.
    """
    value = _next_stamp()
    milliseconds, counter = value >> 12, value & 0xFFF
    low = 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | counter << 64 | low))


def _next_stamp() -> int:
    """Milliseconds and counter in one number that only grows, whatever the clock does."""
    global _last_stamp
    with _stamp_lock:
        _last_stamp = max(time.time_ns() // 1_000_000 << 12, _last_stamp + 1)
        return _last_stamp


def new_secret(prefix: str = "") -> str:
    """A fresh secret, safe in a URL."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
