"""Private details: found in the forms that people write them in, and not in what only looks like them.

The details of `Faker` were made up by others, for other purposes: what the filter finds of them is measured
here, and the figures stand in `docs/concepts/data.md`.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from faker import Faker

from parley.stages.hygiene.planted import MAKERS, is_found, plant, recall
from parley.stages.hygiene.private import KINDS, Found, checks, find, mask, shape

TALK = (
    "I went there last week, and it was lovely. Do you know how long it takes to get to the lake from here?"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail ana.b+x@mail.example.co.uk now", "Mail [email] now"),
        ("ana (at) example dot com", "[email]"),
        ("call (555) 010-4477 x12.", "call [phone]."),
        ("+49 30 1234567, or 0171-2345678", "[phone], or [phone]"),
        ("call 4477 1234", "call [phone]"),
        ("DE89 3704 0044 0532 0130 00.", "[iban]."),
        ("card 4111-1111-1111-1111", "card [card]"),
        ("from 203.0.113.9 and 2001:db8::1f", "from [ip] and [ip]"),
        ("SSN 123-45-6789", "SSN [id]"),
        ("git clone https://bo:s3cret@git.example.org/x.git", "git clone [credentials]"),
        ("I live at 221 Baker Street, London", "I live at [address], London"),
        ("Lindenallee 14a und P.O. Box 77", "[address] und [address]"),
    ],
)
def test_details_are_masked(text: str, expected: str) -> None:
    assert mask(text)[0] == expected
    assert len(mask(text)[1]) == expected.count("[")


@pytest.mark.parametrize(
    "text",
    [
        "In 1914-1918 and on 05/12/2021 at 10:30, 12-05-2021 10:45.",
        "DE89 3704 1044 2532 3130 01 has a wrong check digit, and so has 4111 1111 1111 1112.",
        "Version 1.2.3, about 3,000,000 people, 0.0072973525693, 127.0.0.1, ISBN 0312345678.",
        "The score was 21-9 21-9 21-18; <<2000000-400000=1600000>>; route 66; 5 minutes down the road.",
        "std::vector and @home, a dot com company, 10 Questions",
        "In 1954, the United States Supreme Court ruled.",
    ],
)
def test_what_only_looks_private_stays(text: str) -> None:
    assert mask(text) == (text, [])


def test_luhn_s_own_number() -> None:
    assert checks("79927398713")
    assert not any(checks(f"7992739871{digit}") for digit in "012456789")


def test_every_planted_kind_is_found() -> None:
    assert set(MAKERS) == set(KINDS)
    found = recall([TALK, "Yes."], each=100, seed=3)
    assert [item for item in found if item.found < 0.95 * item.planted] == []


def test_a_filter_that_forgets_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    from parley.stages.hygiene import private

    monkeypatch.setattr(private, "RULES", [rule for rule in private.RULES if rule[0] != "phone"])
    found = {item.kind: item.found for item in recall([TALK], each=50, seed=3)}
    assert found["phone"] < 10
    assert found["email"] == 50


@pytest.mark.parametrize(
    ("locale", "make", "least"),
    [
        ("en_US", "email", 1.0),
        ("en_US", "ipv4_public", 1.0),
        ("en_US", "ipv6", 1.0),
        ("en_US", "ssn", 0.99),
        ("en_US", "credit_card_number", 0.95),
        ("de_DE", "iban", 1.0),
        ("en_GB", "iban", 1.0),
        ("pl_PL", "iban", 1.0),
        ("en_US", "phone_number", 0.95),
        ("en_GB", "phone_number", 0.95),
        ("de_DE", "phone_number", 0.95),
        ("fr_FR", "phone_number", 0.95),
        ("nl_NL", "phone_number", 0.95),
        ("ja_JP", "phone_number", 0.95),
        ("de_DE", "street_address", 0.85),
    ],
)
def test_details_that_others_made_up(locale: str, make: str, least: float) -> None:
    fake = Faker(locale, use_weighting=False)
    fake.seed_instance(4)
    made: Callable[[], str] = getattr(fake, make)
    draw = random.Random(5)
    found = [is_found(*plant(TALK, made(), draw)) for _ in range(200)]
    assert sum(found) >= least * len(found)


def test_people_can_look_at_what_was_taken_for_private() -> None:
    text = "Ana, 555-010-4477, ana@example.com"
    assert shape(text, Found(5, 17, "phone")) == "Ana, ⟦000-000-0000⟧, [email]"


def test_long_texts_without_digits_are_not_looked_through() -> None:
    assert find("word " * 1_000_000) == []
