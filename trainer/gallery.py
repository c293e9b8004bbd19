"""The pictures that a job draws of its adapter: what this process has drawn, and what earlier ones of the job have stored.

Each is stored in the run's folder as `previews/<step>/<prompt>.png`, one at another strength than it was trained at as
`previews/<step>/<prompt>-<place of the strength in the spec>.png`: callers fetch them from there while the job trains, and a run
that goes on finds what was drawn before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from trainer.config import PreviewConfig
from trainer.png import as_png, from_png
from trainer.record import RunRecord

MOST_SAVES = 8
"""Numbered adapters that are drawn at each strength."""
_KEY = re.compile(r"([0-9]+)/previews/([0-9]{7})/([0-9]{2})(?:-([0-9]))?\.png")


@dataclass
class Gallery:
    """Pictures by step, those of one step in order of their prompts. Step 0 is without the adapter."""

    config: PreviewConfig
    record: RunRecord
    work: Path
    base_stays: bool = True
    """Whether strength 0 is what was drawn before training: not where new tokens are trained, which it does not take away."""
    plain: dict[int, Sequence[Image.Image]] = field(default_factory=dict)
    """At strength 1."""
    by_strength: dict[tuple[int, int], Sequence[Image.Image]] = field(default_factory=dict)
    """Of the first prompts, by step and place of the strength in the spec; only those that are not in `plain`."""

    def keep(self, step: int, pictures: Sequence[Image.Image], at: int | None = None) -> None:
        """Stores what was drawn after a step, at strength 1 or at the spec's strength `at`."""
        for place, picture in enumerate(pictures):
            path = self.work / "preview.png"
            path.write_bytes(as_png(picture))
            self.record.put_file(f"previews/{step:07d}/{place:02d}{'' if at is None else f'-{at}'}.png", path)
        if at is None:
            self.plain[step] = pictures
        else:
            self.by_strength[step, at] = pictures

    def at_strength(self, step: int, at: int) -> Sequence[Image.Image] | None:
        """Pictures of the first prompts at one of the spec's strengths, whatever they were drawn for; None without them."""
        count, strength = self.config.strength_prompts, self.config.strengths[at]
        if (step, at) in self.by_strength:
            return self.by_strength[step, at]
        alike = {1.0: step, 0.0: 0 if self.base_stays else None}.get(strength)
        pictures = None if alike is None else self.plain.get(alike)
        return None if pictures is None else pictures[:count]

    def take_back(self, step: int) -> None:
        """Forgets what was drawn after later steps: training goes on from this one in another way."""
        self.plain = {drawn: pictures for drawn, pictures in self.plain.items() if drawn <= step}
        self.by_strength = {key: pictures for key, pictures in self.by_strength.items() if key[0] <= step}

    def read_back(self, step: int) -> None:
        """Takes what earlier processes of the job have drawn up to this step, where it is whole. Of a picture that several runs
        have drawn, the last one counts."""
        keys: dict[tuple[int, int | None], dict[int, str]] = {}
        found = [match for info in self.record.runs.list() if (match := _KEY.fullmatch(info.key))]
        for match in sorted(found, key=lambda match: int(match[1])):
            at = int(match[4]) if match[4] else None
            keys.setdefault((int(match[2]), at), {})[int(match[3])] = match[0]
        for (drawn, at), places in sorted(keys.items(), key=lambda item: (item[0][0], item[0][1] is not None)):
            count = len(self.config.prompts) if at is None else self.config.strength_prompts
            if drawn > step or set(places) != set(range(count)):
                continue
            pictures = [from_png(self.record.runs.get(places[place])) for place in range(count)]
            if at is None:
                self.plain[drawn] = pictures
            else:
                self.by_strength[drawn, at] = pictures


def chosen_saves(save_every: int, steps: int, most: int = MOST_SAVES) -> frozenset[int]:
    """At most so many of the steps before the last one after which adapters are saved, spread evenly up to the last of them."""
    saves = list(range(save_every, steps, save_every)) if save_every else []
    count = min(most, len(saves))
    return frozenset(saves[(place + 1) * len(saves) // count - 1] for place in range(count))
