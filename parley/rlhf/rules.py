"""Rewards that are checked instead of learnt: what can be read off a reply itself.

A rule is a list of checks. Each gives a number from 0 (not met) to 1 (met); the rule's score is their
weighted mean, or the least of them. Nothing here is learnt, so nothing can be mistaken; what a rule does
not ask for, PPO will not keep. Where a rule is a recipe's judge stands in `stages.rules`.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final, Literal

from parley.config import check_bounds
from parley.dialogue import Conversation
from parley.errors import ConfigError

CheckName = Literal["ends", "words", "matches", "lacks", "echoes", "function"]
KEYS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "ends": (),
    "words": ("at_least", "at_most"),
    "matches": ("pattern",),
    "lacks": ("pattern",),
    "echoes": ("pattern",),
    "function": ("function",),
}
OWN_KEYS: Final = ("at_least", "at_most", "pattern", "function")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """One thing that is checked in a reply."""

    check: CheckName
    """`ends`: the reply came to its end token. `words`: it has `at_least` to `at_most` words. `matches`,
    `lacks`: `pattern` is, or is not, found in it. `echoes`: what the first group of `pattern` finds in the
    last user turn stands in it too, as whole words. `function`: what a Python function says."""
    at_least: int = 0
    """Words, of `words`."""
    at_most: int = 0
    """Words, of `words`; 0 is no limit."""
    pattern: str = ""
    """A regular expression of Python's `re`, of `matches`, `lacks` and `echoes`."""
    function: str = ""
    """`FILE.py:NAME`, of `function`: called with the conversation and the reply's text; gives true, false
    or a number from 0 to 1. It is the recipe's own code and runs as such."""
    weight: float = 1.0
    """Share of the rule's score beside the other checks' weights; read where `score` is mean."""
    name: str = ""
    """What reports call it; "" is its kind."""

    def __post_init__(self) -> None:
        check_bounds(self, at_least=(0, inf), at_most=(0, inf), weight=(0, inf))
        wanted = KEYS_OF[self.check]
        for key in OWN_KEYS:
            if getattr(self, key) and key not in wanted:
                raise ValueError(f"the check '{self.check}' reads no {key}")
        if wanted and not any(getattr(self, key) for key in wanted):
            raise ValueError(f"the check '{self.check}' needs {' or '.join(wanted)}")
        if 0 < self.at_most < self.at_least:
            raise ValueError(f"no reply has at least {self.at_least} and at most {self.at_most} words")
        _check_pattern(self)
        if self.function and not all(self.function.rpartition(":")):
            raise ValueError(f"function {self.function!r} is not of the form FILE.py:NAME")

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.check


def _check_pattern(config: CheckConfig) -> None:
    try:
        groups = re.compile(config.pattern).groups
    except re.error as error:
        raise ValueError(f"pattern {config.pattern!r} is no regular expression ({error})") from None
    if config.check == "echoes" and not groups:
        raise ValueError(f"pattern {config.pattern!r} needs a group: what the reply is to echo")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleConfig:
    """A reward that is checked instead of learnt."""

    score: Literal["all", "mean"] = "all"
    """Of the checks: the least (1 only where every one is met), or their weighted mean."""
    checks: tuple[CheckConfig, ...] = ()
    """What is checked."""

    def __post_init__(self) -> None:
        titles = [check.title for check in self.checks]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"two checks are called '{twice[0]}': give them a name each")
        if self.checks and not sum(check.weight for check in self.checks):
            raise ValueError("the weights of all checks are 0")


Check = Callable[[Conversation, str, bool], float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready to be applied. `checks` stand beside those of `config`, in their order."""

    config: RuleConfig
    checks: tuple[Check, ...]

    def met(self, history: Conversation, reply: str, *, ended: bool) -> tuple[float, ...]:
        """How far each check is met, from 0 to 1."""
        return tuple(check(history, reply, ended) for check in self.checks)

    def score(self, met: Sequence[float]) -> float:
        """The rule's score, from 0 to 1."""
        if self.config.score == "all":
            return min(met)
        weights = [check.weight for check in self.config.checks]
        return sum(w * value for w, value in zip(weights, met, strict=True)) / sum(weights)


def rule_of(config: RuleConfig) -> Rule:
    """The rule with its patterns compiled and its functions found."""
    return Rule(config, tuple(MAKERS[check.check](check) for check in config.checks))


def _ends(config: CheckConfig) -> Check:
    return lambda history, reply, ended: float(ended)


def _words(config: CheckConfig) -> Check:
    most = config.at_most or inf
    return lambda history, reply, ended: float(config.at_least <= len(reply.split()) <= most)


def _matches(config: CheckConfig) -> Check:
    pattern = re.compile(config.pattern)
    return lambda history, reply, ended: float(pattern.search(reply) is not None)


def _lacks(config: CheckConfig) -> Check:
    pattern = re.compile(config.pattern)
    return lambda history, reply, ended: float(pattern.search(reply) is None)


def _echoes(config: CheckConfig) -> Check:
    """Met where there is nothing to echo."""
    pattern = re.compile(config.pattern)

    def check(history: Conversation, reply: str, ended: bool) -> float:
        found = pattern.search(history.messages[-1].text)
        wanted = found.group(1) if found else None
        return float(not wanted or re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", reply) is not None)

    return check


def _function(config: CheckConfig) -> Check:
    function = find_function(config.function)

    def check(history: Conversation, reply: str, ended: bool) -> float:
        try:
            value = function(history, reply)
        except Exception as error:  # somebody else's code: whatever it raises ends here with its name
            raise ConfigError(
                f"reward.rule: {config.function} failed on the reply {reply[:60]!r} "
                f"({type(error).__name__}: {error})"
            ) from error
        return _share(value, config.function)

    return check


def find_function(name: str) -> Callable[[Conversation, str], Any]:
    """The function `FILE.py:NAME`; `ConfigError` says which half is not there."""
    path, _, attribute = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if not Path(path).is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"reward.rule: there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # as above
        raise ConfigError(f"reward.rule: {path} cannot be run ({type(error).__name__}: {error})") from error
    function = getattr(module, attribute, None)
    if not callable(function):
        raise ConfigError(f"reward.rule: {path} has no function '{attribute}'")
    found: Callable[[Conversation, str], Any] = function
    return found


def _share(value: object, name: str) -> float:
    if isinstance(value, bool | int | float) and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    raise ConfigError(f"reward.rule: {name} gave {value!r}; true, false or a number from 0 to 1 is wanted")


MAKERS: Final[Mapping[str, Callable[[CheckConfig], Check]]] = {
    "ends": _ends,
    "words": _words,
    "matches": _matches,
    "lacks": _lacks,
    "echoes": _echoes,
    "function": _function,
}
