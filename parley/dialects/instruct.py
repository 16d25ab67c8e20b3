"""`instruct`: instruction rows ↔ dialogue ("the InstructGPT dataset, which we transformed into a dialogue
format").

    {"instruction": "…", "input": "…", "output": "…"}             alpaca (with or without `input`)
    {"instruction": "…", "context": "…", "response": "…"}         dolly (with or without `context`)
    {"instruction": "…", "instances": [{"input": "…", "output": "…"}, …]}   self-instruct
    {"prompt": "…", "completion": "…"}                            a text and how it goes on

Sources: Taori et al. 2023, Conover et al. 2023, Wang et al. 2022. The rule, the same for every row:

- The user's turn is the instruction; an input follows after a blank line and the label `Input:` (dolly:
  `Context:`). The assistant's turn is the output, to the letter.
- K ≥ 2 instances become K examples, each with the other pairs before it as turns and only its own answer
  to imitate (InstructGPT, App. A). The instruction stands in the first turn, or in every one where some
  input is empty.
- A prompt that is itself few-shot in a regular style (`fewshot`) becomes turns, and K examples, in the
  same way.
- `from_dialogue` is the inverse and gives back the fields to the letter. The shape, and the style of a
  few-shot prompt, are told by the demonstration's source: `alpaca`, `dolly`, `self-instruct`,
  `alpaca:q-a`, …

Where label and text could be confused, instruction and input stay two user turns; a conversion that its
inverse does not give back is never made. Not kept in the dialogue: ids, names, categories (see `extras`).
Rejected: a missing or empty instruction or output, rows of none of these shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from parley.dialects import chat
from parley.dialects.fewshot import STYLES, FewShot, Style, assemble, separate
from parley.dialects.fields import Fault, listed, mapping, optional_text, text
from parley.dialects.readers import Json, Numbered, readable, rejected
from parley.dialects.records import Record, Reject
from parley.dialogue import USER, Conversation, Message
from parley.labels import Demonstration


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of one kind of row (`given` "": it has no input), and the label of an input."""

    name: str
    prompt: str
    given: str
    output: str
    label: str = "Input"


SHAPES: Final = (
    Shape("alpaca", "instruction", "input", "output"),
    Shape("dolly", "instruction", "context", "response", label="Context"),
    Shape("instruction-output", "instruction", "", "output"),
    Shape("instruction-response", "instruction", "", "response"),
    Shape("completion", "prompt", "", "completion"),
)
SELF_INSTRUCT: Final = Shape("self-instruct", "instruction", "input", "output")
NAMED: Final[Mapping[str, Shape]] = {shape.name: shape for shape in (*SHAPES, SELF_INSTRUCT)}


@dataclass(frozen=True, slots=True)
class Task:
    """An instruction with its pairs of input and output, in the order of the row."""

    instruction: str
    pairs: tuple[tuple[str, str], ...]
    shape: Shape
    style: Style | None = None

    @property
    def source(self) -> str:
        """Tells the shape, and the style of a few-shot prompt."""
        return f"{self.shape.name}:{self.style.name}" if self.style else self.shape.name


# --- row → dialogue --------------------------------------------------------------------------------------


def to_dialogue(row: Mapping[str, object], *, trainer: str = "") -> tuple[Demonstration, ...]:
    """The examples of one row, in order. Raises `Fault`. `trainer`: who wrote it, where that is known."""
    return _examples(_task(row), trainer)


def parse(value: object) -> tuple[Demonstration, ...]:
    """The examples of one row of a file."""
    return to_dialogue(mapping(value))


def extras(row: Mapping[str, object]) -> dict[str, object]:
    """What a row holds beside its texts: `from_dialogue(to_dialogue(row)) | extras(row) == row`."""
    shape = _shape(row)
    texts = (
        {shape.prompt, "instances"} if shape is SELF_INSTRUCT else {shape.prompt, shape.given, shape.output}
    )
    return {key: value for key, value in row.items() if key not in texts}


def _shape(row: Mapping[str, object]) -> Shape:
    if "instances" in row:
        return SELF_INSTRUCT
    for shape in SHAPES:
        if {shape.prompt, shape.output} | ({shape.given} - {""}) <= row.keys():
            return shape
    for shape in SHAPES:  # no whole row: the shape whose texts it has some of names what is missing
        if {shape.prompt, shape.output} & row.keys():
            missing = shape.output if shape.prompt in row else shape.prompt
            raise Fault(missing, "is missing")
    raise Fault("instruction", "is missing")


def _task(row: Mapping[str, object]) -> Task:
    shape = _shape(row)
    instruction = text(row, shape.prompt)
    if shape is SELF_INSTRUCT:
        instances = enumerate(listed(row, "instances"))
        pairs = tuple(
            _pair(mapping(one, f"instances[{n}]"), shape, f"instances[{n}]") for n, one in instances
        )
        return Task(instruction, pairs, shape)
    given, output = _pair(row, shape)
    return (
        _few_shot(instruction, output, shape) if not given else Task(instruction, ((given, output),), shape)
    )


def _pair(row: Mapping[str, object], shape: Shape, at: str = "") -> tuple[str, str]:
    return optional_text(row, shape.given, at) if shape.given else "", text(row, shape.output, at)


def _few_shot(prompt: str, output: str, shape: Shape) -> Task:
    """A few-shot prompt in its parts, where these can be put together again; else the prompt as it is."""
    whole = Task(prompt, (("", output),), shape)
    found = separate(prompt)
    if not found:
        return whole
    task = Task(found.preamble, (*found.pairs, (found.question, output)), shape, found.style)
    return task if _inverse(_conversation(task, task.pairs), task.source) == task else whole


def _examples(task: Task, trainer: str) -> tuple[Demonstration, ...]:
    who = trainer or task.shape.name
    examples = []
    for n, pair in enumerate(task.pairs):
        talk = _conversation(task, (*task.pairs[:n], *task.pairs[n + 1 :], pair), chat.trainer(who))
        examples.append(Demonstration(talk, (len(talk.messages) - 1,), who, task.source))
    if _inverse(examples[-1].conversation, task.source) != task:
        raise Fault(task.shape.prompt, "and its inputs could not be told apart again")
    return tuple(examples)


def _conversation(task: Task, pairs: Sequence[tuple[str, str]], author: str = USER) -> Conversation:
    once = all(given for given, _ in pairs)
    messages: list[Message] = []
    for n, (given, output) in enumerate(pairs):
        messages += [Message("user", given)] if n and once else _asked(task.instruction, given, task.shape)
        messages.append(Message("assistant", output, author))
    return Conversation(tuple(messages))


def _asked(instruction: str, given: str, shape: Shape) -> list[Message]:
    """Instruction and input in one user turn where they can be told apart again, else in two."""
    if not instruction:  # a few-shot prompt without a preamble
        return [Message("user", given)]
    said = _joined(instruction, given, shape)
    turns = [said] if _parted(said, shape) == (instruction, given) else [instruction, given]
    return [Message("user", turn) for turn in turns]


def _joined(instruction: str, given: str, shape: Shape) -> str:
    mark = _mark(shape)
    return instruction + mark + given if given or mark in instruction else instruction


def _parted(said: str, shape: Shape) -> tuple[str, str]:
    instruction, mark, given = said.rpartition(_mark(shape))
    return (instruction, given) if mark else (said, "")


def _mark(shape: Shape) -> str:
    return f"\n\n{shape.label}:\n"


# --- dialogue → row --------------------------------------------------------------------------------------


def from_dialogue(examples: Sequence[Demonstration]) -> dict[str, object]:
    """The row that `to_dialogue` turns into just these examples. Raises `Fault` where there is none."""
    if not examples or any(message.role == "system" for message in examples[-1].conversation.messages[:1]):
        raise Fault("messages", "hold a system message, for which these rows have no place")
    source = examples[-1].source
    task = _inverse(examples[-1].conversation, source)
    if task is None or (len(task.pairs) > 1 and source not in (SELF_INSTRUCT.name, task.source)):
        raise Fault("messages", "are more than one question and its reply: use demonstrations")
    if len(task.pairs) != len(examples):
        raise Fault(
            "messages", f"are one of {len(task.pairs)} few-shot examples, whose others do not stand beside it"
        )
    row = _row(task)
    if [_told(one) for one in to_dialogue(row)] != [_told(one) for one in examples]:
        raise Fault("messages", "would come back as another dialogue: use demonstrations")
    return row


def _told(example: Demonstration) -> tuple[object, ...]:
    return example.imitate, [(message.role, message.text) for message in example.conversation.messages]


def _inverse(talk: Conversation, source: str) -> Task | None:
    """The task in a conversation that shows all of its pairs in their order, where there is one."""
    shape, style = _told_by(source)
    blocks = _blocks(talk.messages)
    if not blocks or any(not 1 <= len(asked) <= 2 for asked, _ in blocks):
        return None
    (first, answer), *rest = blocks
    instruction, given = _instruction(first, shape)
    if style and not given:
        instruction, given = "", instruction
    again = [_instruction(asked, shape) for asked, _ in rest]
    if style or any(named != instruction for named, _ in again):
        again = [("", asked[-1]) for asked, _ in rest]
    pairs = zip(
        (given, *(given for _, given in again)), (answer, *(answer for _, answer in rest)), strict=True
    )
    return Task(instruction, tuple(pairs), shape, style)


def _told_by(source: str) -> tuple[Shape, Style | None]:
    name, _, style = source.partition(":")
    return NAMED.get(name, SHAPES[0]), STYLES.get(style)


def _instruction(asked: Sequence[str], shape: Shape) -> tuple[str, str]:
    return (asked[0], asked[1]) if len(asked) == 2 else _parted(asked[0], shape)


def _blocks(messages: Iterable[Message]) -> list[tuple[list[str], str]]:
    """What the user said before each answer. Turns after the last answer make it no instruction: []."""
    blocks: list[tuple[list[str], str]] = []
    asked: list[str] = []
    for message in messages:
        if message.role == "assistant":
            blocks.append((asked, message.text))
            asked = []
        else:
            asked.append(message.text)
    return [] if asked else blocks


def _row(task: Task) -> dict[str, object]:
    shape = task.shape
    if shape is SELF_INSTRUCT:
        return {
            "instruction": task.instruction,
            "instances": [{"input": given, "output": output} for given, output in task.pairs],
        }
    *pairs, (given, output) = task.pairs
    prompt = task.instruction
    if task.style:
        prompt, given = assemble(FewShot(task.instruction, tuple(pairs), given, task.style)), ""
    texts: dict[str, object] = {shape.prompt: prompt}
    return texts | ({shape.given: given} if shape.given else {}) | {shape.output: output}


def write_rows(records: Iterable[Numbered]) -> Iterator[Json | Reject]:
    """Rows; the K examples of one few-shot row, which stand side by side, become one again."""
    for _, group in groupby(records, _row_key):
        waiting = list(group)
        size = _examples_of(waiting[0][1])
        for start in range(0, len(waiting), size):
            yield from _written(waiting[start : start + size])


def _row_key(numbered: Numbered) -> tuple[object, ...]:
    number, record = numbered
    if _examples_of(record) == 1 or not isinstance(record, Demonstration):
        return (number,)
    task = _inverse(record.conversation, record.source)
    return (record.source, task.instruction, sorted(task.pairs)) if task else (number,)


def _examples_of(record: Record) -> int:
    if not isinstance(record, Demonstration):
        return 1
    _, style = _told_by(record.source)
    few_shot = style is not None or record.source == SELF_INSTRUCT.name
    return max(1, len(_blocks(record.conversation.messages))) if few_shot else 1


def _written(group: Sequence[Numbered]) -> Iterable[Json | Reject]:
    examples = [record for _, record in group if isinstance(record, Demonstration)]
    try:
        if len(examples) != len(group):
            raise Fault("", "is no demonstration: write it as rankings or hh")
        return readable([from_dialogue(examples)], parse)
    except Fault as fault:
        return [rejected(number, fault) for number, _ in group]
