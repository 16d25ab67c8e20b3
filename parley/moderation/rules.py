"""`ports.Moderator` by readable rules: `rules.yaml` says what is warned about and what is blocked.

A rule is a phrase of words; `*` ends a word that may go on, `|` parts alternatives, `…` stands for
up to four words between. Text and rules meet as plain letters (`plain_words`), so that look-alike
letters, accents, digits for letters, letters spaced or dotted apart, invisible characters and
letters repeated for emphasis make no difference. It is a floor with known holes, not a judge: it
knows no context, and where context decides it warns and does not block.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from parley.labels import CategoryScore, Verdict

RULES: Final = Path(__file__).with_name("rules.yaml")
GAP: Final = r"(?: \w+){0,4}"

LOOK_ALIKES: Final = str.maketrans(
    "абвеіјкмнорсѕтухԁһԛԝαεικνορτυχηßıłđøæœ", "abbeijkmhopcstyxdhqwaeikvoptuxnsildoao"
)
"""Letters of other alphabets, and Latin ones that lose no accent, as the letters they are taken for."""
LETTER_SIGNS: Final = str.maketrans("013457@$!|", "oieastasii")
"""Digits and signs as the letters they stand for among letters."""

_sign: Final = re.compile(r"[013457@$!|]")
_word: Final = re.compile(r"[^\W_]+")
_spelled: Final = re.compile(r"(?<!\S)([ai] )?(\w(?: \w){2,})(?!\S)")
_repeated: Final = re.compile(r"(\w)\1+")
_wide: Final = re.compile(r"\s{2,}")
_inside: Final = re.compile(r"(?<=\w)[^\w\s]+(?=\w)")


def plain_words(text: str) -> str:
    """The words of a text as plain letters, one space between them and one on either side."""
    text = text.lower() if text.isascii() else _without_marks(text)
    if _sign.search(text):
        text = " ".join(map(_undisguised, text.split(" ")))
    words = " ".join(filter(None, map(_respelled, _wide.split(text))))
    return f" {_repeated.sub(_once, words)} "


def _undisguised(word: str) -> str:
    """`b0mb` → `bomb`; a number, and a mark after a word, stay."""
    bare = word.rstrip("!|.,;:?")
    if not any(map(str.isalpha, bare)):
        return word
    return bare.translate(LETTER_SIGNS)


def _respelled(part: str) -> str:
    """The words of a part; `a b o m b` → `a bomb`."""
    return _spelled.sub(_joined, " ".join(_word.findall(part)))


def _joined(spelled: re.Match[str]) -> str:
    return (spelled[1] or "") + spelled[2].replace(" ", "")


def _once(repeated: re.Match[str]) -> str:
    return repeated[1]


def _without_marks(text: str) -> str:
    """Latin look-alikes and compatibility forms as themselves, without accents and invisible characters."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).lower())
    kept = (char for char in apart if unicodedata.category(char) not in ("Mn", "Me", "Cf"))
    return "".join(kept).translate(LOOK_ALIKES)


@dataclass(frozen=True, slots=True)
class Category:
    """One kind of unsafe content, and the texts that have it."""

    name: str
    action: Literal["warn", "block"]
    message: str
    pattern: re.Pattern[str]


class RuleModerator:
    """Moderation by the rules of one file. Safe to use from many threads."""

    def __init__(self, version: str, categories: Sequence[Category], harmless: re.Pattern[str]) -> None:
        self._version = version
        self._categories = sorted(categories, key=lambda one: one.action != "block")
        self._harmless = harmless
        self._any = re.compile("|".join(one.pattern.pattern for one in categories))

    def check(self, text: str) -> Verdict:
        """The worst of what any rule says; `allow` where none says anything."""
        found = self._found(plain_words(text))
        closed_up = _inside.sub("", text)  # `bo-mb` → `bomb`
        if closed_up != text:
            found |= self._found(plain_words(closed_up))
        hits = [category for category in self._categories if category.name in found]
        if not hits:
            return Verdict("allow", (), self._version, "")
        scores = tuple(CategoryScore(category.name, 1.0) for category in hits)
        return Verdict(hits[0].action, scores, self._version, hits[0].message)

    def _found(self, words: str) -> set[str]:
        if not self._any.search(words):
            return set()
        words = self._harmless.sub(" ", words)
        return {category.name for category in self._categories if category.pattern.search(words)}


@cache
def shipped_moderator() -> RuleModerator:
    """By the rules that come with `parley`."""
    return read_rules(yaml.safe_load(RULES.read_text(encoding="utf-8")))


def read_rules(rules: Mapping[str, Any]) -> RuleModerator:
    """By rules of the form of `rules.yaml`."""
    categories = [
        Category(one["name"], one["action"], one["message"], _pattern(one["phrases"]))
        for one in rules["categories"]
    ]
    return RuleModerator(rules["version"], categories, _pattern(rules["unless"]))


def _pattern(phrases: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_phrase(phrase)}(?= ))" for phrase in phrases))


def _phrase(phrase: str) -> str:
    """A phrase → a regular expression over `plain_words`; every word begins with its space."""
    return "".join(GAP if word == "…" else _one_of(word) for word in phrase.split())


def _one_of(word: str) -> str:
    return f" (?:{'|'.join(map(_alternative, word.split('|')))})"


def _alternative(word: str) -> str:
    stem = plain_words(word.removesuffix("*")).strip()
    return stem + (r"\w*" if word.endswith("*") else "")
