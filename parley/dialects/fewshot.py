"""Few-shot prompts: text that shows some questions with answers and ends in a question without one.

    Name the capital.\\n\\nQ: France\\nA: Paris\\n\\nQ: Japan\\nA:

`separate` takes such text apart where it is regular enough for `assemble` to give back its bytes, and
answers None otherwise. How the parts become turns is `instruct`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Style:
    """How a few-shot prompt is written: the two labels, and what stands between its examples."""

    asks: str
    answers: str
    gap: str

    @property
    def name(self) -> str:
        """Its key in `STYLES`: `q-a`, or `q-a-tight` without blank lines."""
        return f"{self.asks}-{self.answers}".lower() + ("" if self.gap == "\n\n" else "-tight")


LABELS: Final = (
    ("Q", "A"),
    ("Question", "Answer"),
    ("Input", "Output"),
    ("User", "Assistant"),
    ("Human", "AI"),
    ("Text", "Label"),
)
STYLES: Final[Mapping[str, Style]] = {
    style.name: style for gap in ("\n\n", "\n") for style in (Style(*labels, gap) for labels in LABELS)
}


@dataclass(frozen=True, slots=True)
class FewShot:
    """What the prompt says first (maybe nothing), its answered questions, and the open one."""

    preamble: str
    pairs: tuple[tuple[str, str], ...]
    question: str
    style: Style


def separate(text: str) -> FewShot | None:
    """The parts of a few-shot prompt of at least one answered question, in the first style that fits."""
    for style in STYLES.values():
        found = _in_style(text, style)
        if found and assemble(found) == text:
            return found
    return None


def assemble(prompt: FewShot) -> str:
    """The inverse of `separate`."""
    return prompt.style.gap.join(_blocks(prompt)) if not prompt.preamble else _opened(prompt)


def _opened(prompt: FewShot) -> str:
    return prompt.preamble + "\n\n" + prompt.style.gap.join(_blocks(prompt))


def _blocks(prompt: FewShot) -> Iterator[str]:
    style = prompt.style
    for question, answer in prompt.pairs:
        yield f"{style.asks}: {question}\n{style.answers}: {answer}"
    yield f"{style.asks}: {prompt.question}\n{style.answers}:"


def _in_style(text: str, style: Style) -> FewShot | None:
    end = f"\n{style.answers}:"
    if not text.endswith(end):
        return None
    preamble, blocks = _opening(text.removesuffix(end), style)
    *shown, question = blocks
    pairs = [block.split(f"{end} ") for block in shown]
    regular = bool(pairs) and all(len(pair) == 2 and all(map(str.strip, pair)) for pair in pairs)
    if not regular or end in question or not question.strip():
        return None
    return FewShot(preamble, tuple((asked, answered) for asked, answered in pairs), question, style)


def _opening(text: str, style: Style) -> tuple[str, list[str]]:
    start = f"{style.asks}: "
    preamble, found, rest = (
        ("", start, text[len(start) :]) if text.startswith(start) else text.partition(f"\n\n{start}")
    )
    return preamble, rest.split(f"{style.gap}{start}") if found else [""]
