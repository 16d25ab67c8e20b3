"""What all tables share: the declarative base, and how secrets are made and kept.

A secret is 256 random bits. It is kept as its SHA-256 alone: a slow password hash would protect
guessable secrets, and these are not. Looking one up is one indexed search for the hash, the same
work whether or not it is there, and what its timing could tell is about a hash, not a secret.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from sqlalchemy.orm import DeclarativeBase

SECRET_BYTES: Final = 32


class Table(DeclarativeBase):
    """The base of every table."""


def new_secret(prefix: str = "") -> str:
    """A fresh secret, safe in a URL."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
