"""What was found to train on, and what reading it came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from loramill import v1
from loramill.errors import InputError
from loramill.inputs.names import is_mask, is_picture, stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Layout(Enum):
    """How pictures and captions lie, by the words of the command; each with its title in sentences."""

    PLAIN = "plain", "a plain folder"
    KOHYA_FOLDERS = "kohya-folders", "kohya folders"
    KOHYA_TOML = "kohya-toml", "a kohya dataset configuration"
    IMAGEFOLDER = "imagefolder", "a Hugging Face imagefolder"
    WEBDATASET = "webdataset", "webdataset shards"

    def __init__(self, word: str, title: str) -> None:
        self.word = word
        self.title = title


@dataclass(frozen=True)
class Entry:
    """Something that lies in a source, by its path with `/` between parts."""

    label: str
    size: int = 0
    """Bytes."""
    kind: str = "file"
    """`file`, or what it is instead, such as `a symbolic link`."""


@dataclass(frozen=True)
class InputFile:
    """A file of the dataset to be: its path there, and where its content comes from."""

    label: str
    size: int
    origin: str = ""
    """Its path in the source; empty where `text` is the content."""
    text: str | None = None


@dataclass(frozen=True)
class Ignored:
    """What is left out, and why in some words."""

    label: str
    reason: str


@dataclass(frozen=True)
class Part:
    """A subset as it was found, and the rules that a job should have for it."""

    spec: v1.SubsetSpec
    pictures: int
    captioned: int


@dataclass(frozen=True)
class Input:
    """What becomes a dataset."""

    layout: Layout
    files: tuple[InputFile, ...]
    """Pictures, and at most one caption file for each, in order of path."""
    parts: tuple[Part, ...] = ()
    """Suggested subsets; none where one of everything will do."""
    suggested: v1.SuggestedSpec = field(default_factory=v1.SuggestedSpec)
    """What a job gets for fields that its spec leaves open; `parts` are in it."""
    ignored: tuple[Ignored, ...] = ()
    notes: tuple[str, ...] = ()
    """What deserves attention, a sentence each."""

    @property
    def pictures(self) -> tuple[InputFile, ...]:
        return tuple(file for file in self.files if is_picture(file.label))

    @property
    def captions(self) -> tuple[InputFile, ...]:
        return tuple(file for file in self.files if not is_picture(file.label) and not is_mask(file.label))

    @property
    def without_caption(self) -> tuple[InputFile, ...]:
        """Whether that is an error, the spec decides: it may give a fixed caption."""
        captioned = {stem(file.label) for file in self.captions}
        return tuple(file for file in self.pictures if stem(file.label) not in captioned)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)

    def reasons(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What is ignored, by reason, most frequent first."""
        counts = Counter(ignored.reason for ignored in self.ignored)
        return tuple(
            (reason, tuple(sorted(entry.label for entry in self.ignored if entry.reason == reason)))
            for reason, _ in counts.most_common()
        )


@dataclass
class Findings:
    """What reading a source comes to, gathered so that everything is said at once."""

    ignored: list[Ignored] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def ignore(self, labels: Iterable[str], reason: str) -> None:
        self.ignored += [Ignored(label, reason) for label in labels]

    def problems_of(self, labels: Sequence[str], one: str, many: str, remedy: str) -> None:
        """One sentence for any number of files."""
        if labels:
            self.problems.append(f"{counted(labels, one, many)}. {remedy}")

    def note(self, labels: Sequence[str], one: str, many: str) -> None:
        if labels:
            self.notes.append(f"{counted(labels, one, many)}.")

    def raise_problems(self, title: str) -> None:
        if self.problems:
            raise InputError(f"{title} cannot become a dataset:", self.problems)


SHOWN = 5
"""Names that a sentence gives of many."""


def counted(labels: Sequence[str], one: str, many: str) -> str:
    """`3 pictures have no caption: a.png, b.png, c.png`."""
    names = ", ".join(label if label.isprintable() else ascii(label) for label in labels[:SHOWN])
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return f"{len(labels)} {one if len(labels) == 1 else many}: {names}{more}"
