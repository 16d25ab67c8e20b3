"""The recipe's keys for files of people's words: which files, what is kept apart, what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

from parley.config import check_bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData:
    """One file of people's words."""

    file: str
    """Path below the data root."""
    format: str
    """One of the formats of `parley data import`."""
    limit: int = 0
    """Records to take at most, drawn by seed; 0 takes all."""
    weight: float = 0.0
    """Share of what is learnt from, beside the weights of the other files of its section; in supervised
    characters of dialogues, in characters of texts. Give every file of a section a weight, or none."""
    name: str = ""
    """What reports call the source of its records; "" leaves dialogues and rankings the name that their
    format gives, and names texts after their file."""
    pii: Literal["", "mask", "drop", "keep"] = ""
    """As `pii` of all files, for this one alone; "" is what that says."""

    def __post_init__(self) -> None:
        check_bounds(self, limit=(0, inf), weight=(0, inf))

    @property
    def source(self) -> str:
        """The name of a text's source."""
        return self.name or Path(self.file).name.split(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesData:
    """Files of people's words, what is kept apart, and what is left out."""

    root: str = "."
    """Directory of the files, relative to where the command runs."""
    texts: tuple[FileData, ...] = ()
    """Plain documents for pretraining."""
    text_characters: int = 0
    """Characters of pretraining text: to take at most from each file, or by weight exactly in all; 0 takes
    what there is."""
    dialogues: tuple[FileData, ...] = ()
    """Demonstrations: both-sides dialogues, trees, instruction rows."""
    rankings: tuple[FileData, ...] = ()
    """Human rankings and comparisons."""
    held_out_share: float = 0.1
    """Share of documents, and of the prompts of dialogues and rankings, kept apart for measuring."""
    held_out_people: float = 0.0
    """Share of the people who demonstrated or ranked of whom everything is kept apart, drawn by their names,
    where the files name them. Of few people it can be nobody, or half: name some then."""
    held_out_names: tuple[str, ...] = ()
    """People of whom everything is kept apart whatever is drawn."""
    held_out_texts: int = 200
    """Documents of each file kept apart at most."""
    held_out_text_characters: int = 20_000
    """Characters of such a document that are measured; nothing is done with the rest of a longer one."""
    near_duplicate: float = 0.8
    """From which share of common shingles of three words on (Jaccard) two dialogues, rankings or documents
    are the same one, of which the first stays; 0 drops exact duplicates alone."""
    leak: float = 0.7
    """From which such share on a prompt is too near to one that is held out to be learnt from."""
    common_prefix: int = 200
    """Prompts that differ but begin with as many equal characters are dropped but for the first one
    (InstructGPT A.1); 0 drops none."""
    prompts_a_person: int = 200
    """Prompts to learn from by each person at most, where the files name who wrote them (InstructGPT A.1);
    0 is no limit, which suits trainers who were asked to write many."""
    pii: Literal["mask", "drop", "keep"] = "mask"
    """What becomes of private details in the training part (e-mail, phone, IBAN, card, ...): replaced by
    `[email]` and the like, or their records dropped, or kept."""
    unsafe: Literal["count", "drop"] = "count"
    """What becomes of dialogues with an imitated turn that the shipped moderation rules block: counted, or
    dropped too. Rankings are only counted."""
    row_characters: int = 100_000
    """A longer dialogue or ranking is a fault; 0 is no limit."""
    most_repeats: int = 4
    """How often a file may be repeated to reach its weight."""
    prompt_turn: Literal["first", "any"] = "any"
    """Which user turns of the dialogues become prompts of PPO."""

    def __post_init__(self) -> None:
        check_bounds(self, text_characters=(0, inf), held_out_share=(0, 0.9), held_out_texts=(0, inf))
        check_bounds(
            self, held_out_people=(0, 0.9), near_duplicate=(0, 1), leak=(0, 1), most_repeats=(1, inf)
        )
        check_bounds(
            self, held_out_text_characters=(1, inf), common_prefix=(0, inf), prompts_a_person=(0, inf)
        )
        check_bounds(self, row_characters=(0, inf))
        for section in (self.texts, self.dialogues):
            if any(entry.weight for entry in section) and not all(entry.weight for entry in section):
                raise ValueError("every file of a section has a weight, or none")
        if any(entry.weight for entry in self.rankings):
            raise ValueError("rankings take no weight: every ranking is learnt from once")
