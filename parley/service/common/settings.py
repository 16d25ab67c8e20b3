"""What the owner may set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from parley.errors import ConfigError
from parley.ports import Sampling
from parley.store.turns import TreeLimits

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
DAY_SECONDS: Final = 24 * 60 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything `create_app` needs to know that is not a seam."""

    base_url: str = "http://127.0.0.1:8000"
    """Where people reach the service: scheme, host and port, no path."""
    hosts: tuple[str, ...] = ()
    """Further host names under which it may be reached, besides loopback and that of `base_url`."""
    release: str = ""
    """The release that answers where none is named, whatever was promoted; "" leaves it to the releases' states."""
    sampling: Sampling = field(default_factory=Sampling)
    """How replies are sampled where the caller says nothing."""
    max_reply_tokens: int = 1024
    """A longer `max_tokens` is cut to this; the reply then ends with the reason `length`."""
    max_in_flight: int = 192
    """Replies that programs wait for at once; further requests are told to try again."""
    max_in_flight_of_key: int = 128
    """The same, of one key, so that none leaves nothing to the others."""
    drain_seconds: float = 10.0
    """How long a server that was asked to stop goes on with what programs wait for."""
    max_connections: int = 2048
    """Connections at once; fewer where the system allows fewer open files."""
    receive_seconds: float = 20.0
    """A request that is not there after this is refused."""
    send_seconds: float = 30.0
    """A client that takes nothing of its answer for this long is dropped."""
    max_body_bytes: int = 256 * 1024
    """A longer request is refused."""
    max_message_bytes: int = 32 * 1024
    """A longer message of a person is refused."""
    tree: TreeLimits = field(default_factory=TreeLimits)
    """How large a conversation may grow, and how many replies a person may wait for at once."""
    max_replies: int = 256
    """Replies of conversations being written at once, of all people together; each takes a thread."""
    history_messages: int = 200
    """How many messages before the last one a release is given at most."""
    drafts_share: float = 0.0
    """On this share of turns two replies are written, and the person is asked which is better."""
    window_hold: int = 32
    """Characters of a reply that wait until moderation has seen what follows them."""
    window_context: int = 128
    """Characters of a reply before the ones that wait, which moderation sees again with them."""
    batch_seconds: float = 0.05
    """What releases write is stored and shown this often."""
    ping_seconds: float = 15.0
    """A stream on which nothing happens says so this often."""
    recheck_seconds: float = 30.0
    """How often a long stream asks again whether its viewer may still see it."""
    poll_seconds: float = 0.25
    """How often a reply that another process writes is looked after."""
    heartbeat_seconds: float = 10.0
    """How often this process says that it is alive."""
    reap_seconds: int = 90
    """A reply whose process was silent for longer than this is ended."""
    stop_grace_seconds: float = 5.0
    """A reply that was told to stop and yields nothing for this long is ended without its writer."""
    keep_events_seconds: int = DAY_SECONDS
    """How long the events of a reply stay after its end; its text stays with the message."""
    link_seconds: int = 5 * 60
    """How long a login link can be used."""
    session_seconds: int = 30 * DAY_SECONDS
    """How long a session lives at most."""
    session_idle_seconds: int = 7 * DAY_SECONDS
    """How long a session lives without being used."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ConfigError(
                f"base_url '{self.base_url}' is not like http://127.0.0.1:8000: scheme, host, port, no path"
            )

    @property
    def secure(self) -> bool:
        """People come by https."""
        return urlsplit(self.base_url).scheme == "https"

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The names that a request may call us by, in lower case and without port."""
        netloc = urlsplit(self.base_url).netloc.lower()
        host = netloc.partition("]")[0] + "]" if netloc.startswith("[") else netloc.partition(":")[0]
        return frozenset((*LOOPBACK, host, *(name.lower() for name in self.hosts)))

    @property
    def session_cookie(self) -> str:
        """The cookie's name, with the port: browsers do not tell the cookies of two ports apart."""
        return "__Host-parley" if self.secure else f"parley-{urlsplit(self.base_url).port or 80}"
