"""`loramill adapter compare`: what jobs have drawn of the same prompts and seeds, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loramill.comparison import Column, Prompt, comparison_page
from loramill.errors import DownloadError

if TYPE_CHECKING:
    from loramill import v1
    from loramill.client import Client
    from loramill.previews import Picture

_DRAW = "draw them anew with: python -m trainer compare-adapters (docs/adapter-tools.md)"

Key = tuple[str, str, int]
"""Prompt and negative prompt as the spec has them, with `[tag]` in them, and seed."""


@dataclass(frozen=True)
class _Drawn:
    """An adapter, its job, and its pictures by what was drawn."""

    adapter: v1.Adapter
    job: v1.TrainingJob
    pictures: dict[Key, Picture]
    without: dict[Key, Picture]

    @property
    def way(self) -> tuple[object, ...]:
        """All that pictures depend on beside prompt, seed and adapter."""
        previews = self.job.spec.previews
        return (
            self.adapter.base_model,
            previews.width,
            previews.height,
            previews.inference_steps,
            previews.guidance_scale,
            previews.sampler,
        )


def compared(client: Client, names: Sequence[str]) -> str:
    """The page of these adapters. Raises DownloadError where there is nothing that can be compared."""
    drawn = [_drawn(client, client.get_adapter(name)) for name in names]
    first = drawn[0]
    for other in drawn[1:]:
        if other.way != first.way:
            raise DownloadError(
                f"{_id(first)} and {_id(other)} were drawn on different bases, or with another size, sampler, guidance or "
                f"number of steps, so that a difference would say little; {_DRAW}."
            )
    keys = [key for key in first.pictures if all(key in other.pictures for other in drawn)]
    if not keys:
        raise DownloadError(
            f"The jobs of {', '.join(map(_id, drawn))} have drawn no prompt with the same seed; give them the same "
            f"previews.prompts, or {_DRAW}."
        )
    columns = [Column(name="without adapter", pictures=[_content(first.without.get(key)) for key in keys])]
    columns += [
        Column(name=_id(one), note=_note(one), pictures=[_content(one.pictures[key]) for key in keys]) for one in drawn
    ]
    return comparison_page(
        f"{len(drawn)} adapters",
        _how(first.job.spec.previews, first.adapter),
        [Prompt(text=text, negative=negative, seed=seed) for text, negative, seed in keys],
        columns,
    )


def _drawn(client: Client, adapter: v1.Adapter) -> _Drawn:
    if not adapter.training_job:
        raise DownloadError(f"{adapter.name} was uploaded, so that no job has drawn it; {_DRAW}.")
    if adapter.abandoned:
        raise DownloadError(
            f"{adapter.name} is of steps that its job gave up and did again, so that the job's pictures are not its own; {_DRAW}."
        )
    job = client.get_job(adapter.training_job)
    pictures = list(client.get_previews(job.name))
    steps = {picture.preview.step for picture in pictures if picture.preview.strength == 1}
    # The final adapter may be that of an earlier, better step; what was drawn last shows it.
    step = max(steps, default=0) if adapter.name.endswith("-final") else adapter.step
    if step not in steps:
        raise DownloadError(
            f"The job of {adapter.name} has drawn no previews after step {step} (previews.every_steps, previews.at_steps); "
            f"{_DRAW}."
        )

    def of(wanted: int, strength: float) -> dict[Key, Picture]:
        prompts = job.spec.previews.prompts
        return {
            (prompts[one.preview.place].prompt, prompts[one.preview.place].negative_prompt, one.preview.seed): one
            for one in pictures
            if (one.preview.step, one.preview.strength) == (wanted, strength)
        }

    return _Drawn(adapter, job, of(step, 1.0), of(0, 0.0))


def _id(drawn: _Drawn) -> str:
    return drawn.adapter.name.rpartition("/")[2]


def _content(picture: Picture | None) -> bytes | None:
    return None if picture is None else picture.content


def _note(drawn: _Drawn) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import AdapterType

    adapter = drawn.adapter
    kind = enum_word(AdapterType.DESCRIPTOR, adapter.type)
    parts = [drawn.job.spec.display_name, f"{kind}, {f'rank {adapter.rank}' if adapter.rank else 'full matrices'}"]
    parts.append(f"step {adapter.step}")
    parts.append(f"tag {adapter.activation_tag}" if adapter.activation_tag else "")
    return " · ".join(filter(None, parts))


def _how(previews: v1.PreviewSpec, adapter: v1.Adapter) -> str:
    from loramill.scalars import enum_word
    from loramill.v1 import PreviewSampler

    sampler = enum_word(PreviewSampler.DESCRIPTOR, previews.sampler).replace("_", " ") if previews.sampler else "base"
    return (
        f"The same prompts and seeds on {adapter.base_model.rpartition('/')[2]}, as the jobs drew them: {previews.width} × "
        f"{previews.height} pixels, {previews.inference_steps} steps, guidance {previews.guidance_scale:g}, sampler {sampler}. "
        "[tag] stands for each adapter's own activation tag."
    )
