"""How much of what is private the filter finds: details of every kind are planted in copies of real texts.

The planted details follow the published forms of each kind (E.123 and national ways of writing numbers, IBAN
with ISO 7064 check digits, cards with Luhn's, RFC 5322 and 4291 addresses), drawn by seed; they are nobody's.
That finds what the filter forgets, not what the forms forget: see `tests/stages/test_private.py` for details
that somebody else made up.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from typing import Final

from parley.stages.hygiene.findings import Recall
from parley.stages.hygiene.private import IBAN_LENGTHS, checks, find

Draw = random.Random
NAMES: Final = [
    "ana",
    "bo",
    "chidi",
    "dana",
    "emil",
    "fatou",
    "greta",
    "hugo",
    "ines",
    "jonas",
    "kavya",
    "lena",
    "marek",
    "nuria",
    "omar",
    "petra",
]
HOSTS: Final = [
    "example.com",
    "example.org",
    "mail.example.co.uk",
    "example.de",
    "office-example.net",
    "a1.example.io",
]
STREETS: Final = ["Oak", "Maple", "Mill", "Church", "Lincoln", "Station", "Park", "King", "River", "Hill"]
TYPES: Final = [
    "Street",
    "St.",
    "Avenue",
    "Ave",
    "Road",
    "Rd",
    "Lane",
    "Drive",
    "Boulevard",
    "Court",
    "Square",
    "Terrace",
]
BEFORE: Final = ("", "You can reach me here: ", "It is ", "Please use ", "I wrote it down, ", "(")
MOST: Final = 5000  # characters of a text that a detail is planted in


def recall(texts: Sequence[str], *, each: int, seed: int) -> tuple[Recall, ...]:
    """Of each kind, how many details that were planted in the texts are found whole."""
    draw = random.Random(f"{seed}/planted")
    return tuple(
        Recall(
            kind=kind,
            found=sum(is_found(*plant(draw.choice(texts), make(draw), draw)) for _ in range(each)),
            planted=each,
        )
        for kind, make in MAKERS.items()
        if texts
    )


def plant(text: str, detail: str, draw: Draw) -> tuple[str, int, int]:
    """A copy of the text with the detail between two of its words, and where it stands."""
    words = text[:MOST].split(" ")
    place = draw.randrange(len(words) + 1)
    before = " ".join([*words[:place], draw.choice(BEFORE)])
    behind = ")" if before.endswith("(") else draw.choice(["", ".", ","])
    whole = " ".join([f"{before}{detail}{behind}", *words[place:]])
    return whole, len(before), len(before) + len(detail)


def is_found(text: str, start: int, end: int) -> bool:
    """Whether every letter and digit between two places lies in something that is found."""
    covered = {place for item in find(text) for place in range(item.start, item.end)}
    return all(place in covered for place in range(start, end) if text[place].isalnum())


def _digits(draw: Draw, count: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(count))


def _email(draw: Draw) -> str:
    first, last = draw.sample(NAMES, 2)
    name = draw.choice(
        [first, f"{first}.{last}", f"{first}_{last}{_digits(draw, 2)}", f"{first[0]}{last}+news"]
    )
    host = draw.choice(HOSTS)
    spelt = f"{name} (at) {host.replace('.', ' dot ')}"
    return draw.choice([f"{name}@{host}", f"{name.title()}@{host}", f"{name}@{host}", spelt])


def _phone(draw: Draw) -> str:
    area, three = (f"{draw.randint(2, 9)}{_digits(draw, 2)}" for _ in range(2))
    four = _digits(draw, 4)
    written = [
        f"({area}) {three}-{four}",
        f"{area}-{three}-{four}",
        f"{area}.{three}.{four}",
        f"+1 {area} {three} {four}",
        f"+1-{area}-{three}-{four}",
        f"+44 20 7{_digits(draw, 3)} {four}",
        f"+49 {draw.randint(30, 99)} {_digits(draw, 7)}",
        f"0049 170 {_digits(draw, 7)}",
        f"+33 {draw.randint(1, 7)} {' '.join(_digits(draw, 2) for _ in range(4))}",
        f"020 7{_digits(draw, 3)} {four}",
        f"0171-{_digits(draw, 7)}",
        f"+91 9{_digits(draw, 4)} {_digits(draw, 5)}",
        f"{area}-{three}-{four} x{_digits(draw, 3)}",
    ]
    return draw.choice(written)


def _iban(draw: Draw) -> str:
    country = draw.choice(["DE", "GB", "FR", "ES", "NL", "CH", "IT", "PL", "SE"])
    body = _digits(draw, IBAN_LENGTHS[country] - 4)
    body = "NWBK" + body[4:] if country in ("GB", "NL") else body
    moved = "".join(str(int(sign, 36)) for sign in f"{body}{country}00")
    whole = f"{country}{98 - int(moved) % 97:02}{body}"
    spaced = " ".join(whole[n : n + 4] for n in range(0, len(whole), 4))
    return draw.choice([whole, spaced])


def _card(draw: Draw) -> str:
    start, length = draw.choice([("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16)])
    body = start + _digits(draw, length - len(start) - 1)
    whole = next(body + digit for digit in string.digits if checks(body + digit))
    groups = (4, 10) if length == 15 else (4, 8, 12)
    parts = [whole[a:b] for a, b in zip((0, *groups), (*groups, length), strict=True)]
    return draw.choice([whole, " ".join(parts), "-".join(parts)])


def _ip(draw: Draw) -> str:
    four = ".".join(str(draw.randint(128, 223)) for _ in range(4))
    six = ":".join(f"{draw.randrange(16**4):x}" for _ in range(8))
    return draw.choice([four, four, six, f"2001:db8::{draw.randrange(1, 16**4):x}"])


def _id(draw: Draw) -> str:
    return f"{draw.randint(100, 665)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}"


def _credentials(draw: Draw) -> str:
    word = "".join(draw.choice(string.ascii_letters + string.digits + "!$*") for _ in range(10))
    scheme = draw.choice(["https", "ftp", "postgresql", "mongodb+srv", "ssh"])
    return (
        f"{scheme}://{draw.choice(NAMES)}:{word}@{draw.choice(HOSTS)}/{draw.choice(['', 'data', 'a/b.git'])}"
    )


def _address(draw: Draw) -> str:
    number, name = draw.randint(1, 9999), draw.choice(STREETS)
    written = [
        f"{number} {name} {draw.choice(TYPES)}",
        f"{number} {draw.choice(['N', 'W.', 'South'])} {name} {draw.choice(TYPES)}, Apt {draw.randint(1, 99)}",
        f"{number % 100 + 1} {draw.randint(4, 20)}th {draw.choice(TYPES)}",
        f"{draw.choice(['Bahnhofstraße', 'Lindenallee', 'Kirchgasse', 'Hauptstr.'])} {number % 200 + 1}",
        f"{number % 200 + 1} rue de {name}ville",
        f"P.O. Box {number}",
    ]
    return draw.choice(written)


MAKERS: Final[dict[str, Callable[[Draw], str]]] = {
    "credentials": _credentials,
    "email": _email,
    "iban": _iban,
    "card": _card,
    "ip": _ip,
    "id": _id,
    "phone": _phone,
    "address": _address,
}
