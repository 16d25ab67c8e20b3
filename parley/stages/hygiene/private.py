"""What names or reaches a private person in a text, by kind, and the text without it.

Kinds with a check digit (IBAN, card) are checked; the others are known by their form alone, so some of what
is found is not private (a public address, a serial number): the data page says how much is found, so that
people can look. Not found: names (no rule tells a private name from a public one, and texts without names
teach nothing), addresses in small letters, numbers spelt as words, and secrets that look like words.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

Span: TypeAlias = tuple[int, int]
Finder: TypeAlias = Callable[[str, int, int], Iterator[Span]]  # spans of a text between two places

TRIGGER: Final = re.compile(r"[0-9@]+|::")  # no private detail is far from both of these, or from a `dot`
SPELT: Final = re.compile(r"[0-9@]+|::|[ (\[]dot[ )\]]")
REACH: Final = 80  # characters
AROUND: Final = 30  # characters of the words that a detail is shown between


@dataclass(frozen=True, slots=True)
class Found:
    """One private detail: where it stands, and its kind."""

    start: int
    end: int
    kind: str


def find(text: str) -> list[Found]:
    """Private details in the order of the text; where two kinds overlap, the one that stands first in
    `RULES`."""
    found: list[Found] = []
    for start, end in _windows(text):
        here: list[Found] = []
        for kind, finder, needs in RULES:
            for span in finder(text, start, end) if needs.search(text, start, end) else ():
                if not any(span[0] < item.end and item.start < span[1] for item in here):
                    here.append(Found(*span, kind))
        found += sorted(here, key=lambda item: item.start)
    return found


def mask(text: str) -> tuple[str, list[Found]]:
    """The text with `[email]` and the like in place of what is private, and what that was."""
    found = find(text)
    if not found:
        return text, []
    ends = [0, *(item.end for item in found)]
    kept = [text[end : item.start] + f"[{item.kind}]" for end, item in zip(ends, found, strict=False)]
    return "".join(kept) + text[ends[-1] :], found


def shape(text: str, item: Found) -> str:
    """A detail between the words around it: its letters as `x`, its digits as `0`, so that people can see
    what was taken for private and still not read it."""
    told = re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "0", text[item.start : item.end]))
    before = mask(text[max(0, item.start - 4 * AROUND) : item.start])[0]
    behind = mask(text[item.end : item.end + 4 * AROUND])[0]
    return " ".join(f"{before[-AROUND:]}⟦{told}⟧{behind[:AROUND]}".split())


def _windows(text: str) -> Iterator[Span]:
    """The parts of a text where something private can stand: most of a book is none."""
    start = end = -1
    for match in (SPELT if "dot" in text else TRIGGER).finditer(text):
        if match.start() - REACH > end:
            if end >= 0:
                yield start, end
            start = max(0, match.start() - REACH)
        end = match.end() + REACH
    if end >= 0:
        yield start, end


# --- the kinds -------------------------------------------------------------------------------------------

CREDENTIALS: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:]+:[^\s/@]+@[^\s\"'<>)\]]+", re.I)
EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+'%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b")
SPELT_EMAIL: Final = re.compile(
    r"\b[\w.+-]{1,64} ?(?:\(at\)|\[at\]|\bat\b) ?[\w-]{1,63}(?: ?(?:\(dot\)|\[dot\]|\bdot\b) ?[\w-]{1,63}){0,3}"
    r" ?(?:\(dot\)|\[dot\]|\bdot\b) ?(?:com|org|net|edu|gov|io|info|uk|de|fr|es|it|nl|eu|in|ca|au)\b",
    re.I,
)
IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?=[ -]?[A-Z0-9]{4})")
IBAN_LENGTHS: Final = {
    country: int(length)
    for country, length in (
        entry.split(":")
        for entry in [
            "AD:24",
            "AE:23",
            "AL:28",
            "AT:20",
            "AZ:28",
            "BA:20",
            "BE:16",
            "BG:22",
            "BH:22",
            "BR:29",
            "BY:28",
            "CH:21",
            "CR:22",
            "CY:28",
            "CZ:24",
            "DE:22",
            "DK:18",
            "DO:28",
            "EE:20",
            "EG:29",
            "ES:24",
            "FI:18",
            "FO:18",
            "FR:27",
            "GB:22",
            "GE:22",
            "GI:23",
            "GL:18",
            "GR:27",
            "GT:28",
            "HR:21",
            "HU:28",
            "IE:22",
            "IL:23",
            "IQ:23",
            "IS:26",
            "IT:27",
            "JO:30",
            "KW:30",
            "KZ:20",
            "LB:28",
            "LC:32",
            "LI:21",
            "LT:20",
            "LU:20",
            "LV:21",
            "LY:25",
            "MC:27",
            "MD:24",
            "ME:22",
            "MK:19",
            "MR:27",
            "MT:31",
            "MU:30",
            "NL:18",
            "NO:15",
            "PK:24",
            "PL:28",
            "PS:29",
            "PT:25",
            "QA:29",
            "RO:24",
            "RS:22",
            "SA:24",
            "SC:31",
            "SE:24",
            "SI:19",
            "SK:24",
            "SM:27",
            "ST:25",
            "SV:28",
            "TL:23",
            "TN:24",
            "TR:26",
            "UA:29",
            "VA:22",
            "VG:24",
            "XK:20",
        ]
    )
}
CARD: Final = re.compile(
    r"(?<![\d.-])(?:[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{1,7}|3\d{3}([ -]?)\d{6}\2\d{4,5}"
    r"|(?:5[0678]|6\d)\d{10}|(?:1800|2131)\d{11})(?![\d.-]*\d)"
)
IPV4: Final = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\.?\d)"
)
IPV6: Final = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])")
SSN: Final = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")

SPOKEN: Final = re.compile(
    r"\b(?:tel(?:ephone)?|phone|call|mobile|cell ?phone|cell number|fax|whatsapp|dial|sms|text me)\b[^\d\n+(]{0,20}"
    r"(?P<number>[+(]?\d(?:[ ().-]{0,2}\d){5,14})(?!\d)",
    re.I,
)
EXTENSION: Final = r"(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\d-]*\d)"
INTERNATIONAL: Final = re.compile(
    r"(?<![\w+.,])(?:\+|00)[1-9]\d{0,2}(?:[ ().\u00a0/-]{0,3}\d){6,13}" + EXTENSION
)
AMERICAN: Final = re.compile(
    r"(?<![\w.+-])(?<!ISBN )(?:\+?1[-. ]?)?(?:\([2-9]\d{2}\) ?\d{3}[-. ]\d{4}"
    r"|[2-9]\d{2}(?P<sign>[-.])\d{3}(?P=sign)\d{4}|[2-9]\d{2} ?[2-9]\d{2} ?\d{4})" + EXTENSION
)
NATIONAL: Final = re.compile(  # a leading nought, then groups: nine digits at least, and no date
    r"(?<![\w.,/+-])(?<!ISBN )(?=(?:[\W_]{0,2}\d){9})(?!\d{1,2}([-/])\d{1,2}\1\d)(?:"
    r"\(0[1-9]\d{0,4}\)[ -]?\d{2,8}(?:[ -]\d{2,6}){0,3}"
    r"|0[1-9]\d{0,4}[ /-]{1,2}\d{2,8}(?:[ -]\d{2,6}){0,3}"
    r"|0[1-9](?:[ .-]?\d{2}){4}|0[1-9]\d{8,9})(?![\d.,/-]*\d)"
)
DASHED: Final = re.compile(r"(?<![\w.,/+-])0?\d{2}-\d{4}-\d{4}(?![\d.,/-]*\d)")

TITLED: Final = r"(?:[A-Z][\w'’.-]*|\d{1,3}(?:st|nd|rd|th))"
STREET: Final = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Terrace|Place|Pl|Close|"
    r"Crescent|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Gardens|Grove|Mews|Alley|Plaza|Turnpike|Pike|Loop|Row|Walk|Way)"
)
UNIT: Final = r"(?:,? (?:Apt|Apartment|Suite|Ste|Unit|Flat)\.? ?#?\w+)?"
ADDRESS: Final = re.compile(
    rf"[1-9](?<![\w.,$£€].)\d{{0,4}}[A-Za-z]?,? (?:[NSEW]\.? )?{TITLED} (?:(?:{TITLED}|of|the|de|la) ){{0,3}}"
    rf"{STREET}\b\.?{UNIT}|\b[Pp]\.? ?[Oo]\.? ?[Bb]ox \d+"
)
GERMAN: Final = re.compile(
    r"[A-ZÄÖÜ](?<!\w.)[\wäöüß-]*(?:straße|strasse|str\.|gasse|weg|allee|platz|-(?:Straße|Allee|Platz|Weg|Ring|Gasse))"
    r" \d{1,4}(?:[/-]\d{1,3})?[a-z]?\b"
)
FRENCH: Final = re.compile(
    r"[1-9](?<![\w.,].)\d{0,3}(?: ?bis| ?ter)?,? (?:rue|avenue|boulevard|chemin|impasse|allée|quai) "
    r"(?:d[eu]s? |de la |d'|l')?[A-ZÀ-Ý][\w'’-]+(?: [A-ZÀ-Ý][\w'’-]+){0,3}"
)


def _spans(*patterns: re.Pattern[str]) -> Finder:
    def find_all(text: str, start: int, end: int) -> Iterator[Span]:
        for pattern in patterns:
            for match in pattern.finditer(text, start, end):
                yield match.span("number" if "number" in pattern.groupindex else 0)

    return find_all


def _ibans(text: str, start: int, end: int) -> Iterator[Span]:
    for match in IBAN.finditer(text, start, end):
        length = IBAN_LENGTHS.get(match[0][:2], 0)
        if ending := _iban_end(text, match.start(), length):
            yield match.start(), ending


def _iban_end(text: str, start: int, length: int) -> int:
    """Behind the account number that starts there, if its digits check; 0 where they do not."""
    signs = ""
    for place in range(start, min(len(text), start + 2 * length)):
        if text[place].isascii() and text[place].isalnum():
            signs += text[place].upper()
        elif text[place] not in " -":
            break
        if len(signs) == length:
            moved = "".join(str(int(sign, 36)) for sign in signs[4:] + signs[:4])
            ends_here = not text[place + 1 : place + 2].isalnum()
            return place + 1 if ends_here and int(moved) % 97 == 1 else 0
    return 0


def _cards(text: str, start: int, end: int) -> Iterator[Span]:
    return (match.span() for match in CARD.finditer(text, start, end) if checks(match[0]))


def checks(number: str) -> bool:
    """Whether the last digit is the one that Luhn's rule asks for."""
    digits = [int(digit) for digit in reversed(number) if digit.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _machines(text: str, start: int, end: int) -> Iterator[Span]:
    """Addresses of machines that somebody can be traced by: not of the machine itself."""
    for pattern in (IPV4, IPV6):
        for match in pattern.finditer(text, start, end):
            if _is_traceable(match[0]):
                yield match.span()


def _is_traceable(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified or address.startswith("0."))


AT: Final = re.compile(r"@|[ (\[]dot[ )\]]")
DIGITS: Final = re.compile(r"[0-9](?:[\W_]{0,3}[0-9]){5}")  # six of them near each other
DOTTED: Final = re.compile(r"[0-9]\.[0-9]|[0-9A-Fa-f]:[0-9A-Fa-f:]|::")
STREETS: Final = re.compile(rf"[0-9][a-z]?,? [A-Z0-9].{{0,60}}\b{STREET}\b|[Bb]ox [0-9]")
PLATZ: Final = re.compile(r"(?:e|\.|g|tz) [0-9]")
RUE: Final = re.compile("(?:rue|avenue|boulevard|chemin|impasse|allée|quai) ")

# kind, how it is found, and what stands in every text that holds one: most texts need no closer look
RULES: Final[tuple[tuple[str, Finder, re.Pattern[str]], ...]] = (
    ("credentials", _spans(CREDENTIALS), AT),
    ("email", _spans(EMAIL, SPELT_EMAIL), AT),
    ("iban", _ibans, DIGITS),
    ("card", _cards, DIGITS),
    ("ip", _machines, DOTTED),
    ("id", _spans(SSN), DIGITS),
    ("phone", _spans(INTERNATIONAL, AMERICAN, NATIONAL, DASHED, SPOKEN), DIGITS),
    ("address", _spans(ADDRESS), STREETS),
    ("address", _spans(GERMAN), PLATZ),
    ("address", _spans(FRENCH), RUE),
)
KINDS: Final = tuple(dict.fromkeys(kind for kind, _, _ in RULES))
