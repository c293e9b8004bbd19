"""One trained state becomes one adapter: every format, its contact sheet, its report, then the manifest that commits it."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
import torch
from PIL import Image

from loramill import v1
from store.digests import sha256_of
from trainer.adapter_use import card_of
from trainer.adapters.adapter import Adapter
from trainer.config import TrainConfig
from trainer.data.dataset import Example
from trainer.exports import exports
from trainer.formats import embedding, kohya, peft
from trainer.formats.archive import packed
from trainer.formats.files import content_sha256, tensors_sha256, write
from trainer.formats.metadata import Provenance, adapter_metadata
from trainer.pivotal import Pivotal
from trainer.png import as_png
from trainer.record import RunRecord, now
from trainer.report.contact_sheet import SheetRow, contact_sheet

log = structlog.get_logger()

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
FINAL = "final"

Report = Callable[[Sequence[v1.AdapterFile]], str]
"""Makes the report, one HTML file as text, told of the files beside it."""

EventFile = Callable[[Path], None]
"""Writes the event file for TensorBoard."""


def numbered(step: int, generation: int = 0) -> str:
    """How an adapter is called that was saved on the way, as FINAL is the last one. What was committed keeps its name where
    training is taken back, so that the same step of a later generation has one of its own."""
    return f"{step:06d}-g{generation}" if generation else f"{step:06d}"


def thumbnail(image: Image.Image) -> bytes:
    """A JPEG of at most 256 pixels a side, for the file's header."""
    small = image.copy()
    small.thumbnail((256, 256))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@dataclass(frozen=True, kw_only=True)
class Output:
    """An adapter to be saved."""

    suffix: str
    """`final`, or that of `numbered`."""
    step: int
    generation: int
    """Of the line of steps that ends in it."""
    partial: bool
    before: Sequence[Image.Image]
    """Previews without the adapter."""
    after: Sequence[Image.Image]
    """The same with it; none where this step had no previews."""
    report: Report | None
    """None for adapters that are saved on the way."""
    events: EventFile | None = None
    """None where there shall be none."""


@dataclass(frozen=True, kw_only=True)
class Saver:
    """Knows the job; saves adapters of it."""

    config: TrainConfig
    record: RunRecord
    adapter: Adapter
    pivotal: Pivotal
    provenance: Provenance
    examples: tuple[Example, ...]
    work: Path

    def tensors_digest(self) -> str:
        """Of the adapter as it stands, in kohya's format."""
        return tensors_sha256(kohya.tensors(self.adapter.weights(), DTYPES[self.config.output_precision]))

    def save(self, output: Output) -> v1.Adapter:
        """Writes all files of an adapter and commits it."""
        folder = self.work / output.suffix
        folder.mkdir(parents=True, exist_ok=True)
        files = list(self._weights(folder, output))
        if output.after:
            sheet = folder / "contact-sheet.png"
            sheet.write_bytes(as_png(self._sheet(output)))
            files.append(described(v1.ADAPTER_FORMAT_CONTACT_SHEET, sheet))
        if not output.partial:
            card = folder / "README.md"
            card.write_text(card_of(self, output.step, files), encoding="utf-8")
            files.append(described(v1.ADAPTER_FORMAT_MODEL_CARD, card))
        if output.events is not None:
            events = folder / f"events.out.tfevents.{int(self.config.created.timestamp())}.{self.config.output_name}"
            output.events(events)
            files.append(described(v1.ADAPTER_FORMAT_TENSORBOARD, events))
        if output.report is not None:
            page = folder / "report.html"
            page.write_text(output.report(files), encoding="utf-8")
            files.append(described(v1.ADAPTER_FORMAT_REPORT, page))
        adapter = self._adapter(output, files)
        self.record.commit_adapter(output.suffix, adapter, {file.file_name: folder / file.file_name for file in files})
        return adapter

    def _weights(self, folder: Path, output: Output) -> Iterator[v1.AdapterFile]:
        config, layers = self.config, self.adapter.weights()
        shown = thumbnail(output.after[0]) if output.after else None
        provenance = dataclasses.replace(self.provenance, steps=output.step, thumbnail=shown)
        dtype = DTYPES[config.output_precision]
        for export in exports(layers, config, dtype):
            metadata = adapter_metadata(
                config, provenance, self.examples, export.layers, content_sha256(export.tensors)
            )
            path = folder / f"{config.output_name}{export.ending}"
            write(path, export.tensors, {**metadata, **export.header})
            yield described(export.format, path, rank=export.rank, relative_error=export.relative_error)
        directories, left_out = peft.files(layers, dtype)
        if left_out:
            # A directory that lacks layers would load without a word, and be another adapter.
            log.warning("no PEFT directory is written", why=left_out)
        else:
            path = folder / f"{config.output_name}.peft.zip"
            packed(directories, path)
            yield described(v1.ADAPTER_FORMAT_PEFT, path)
        for place, (one, rows) in enumerate(zip(self.pivotal.wanted, self.pivotal.rows, strict=True)):
            path = folder / f"{config.output_name}{embedding.ending(place)}"
            write(path, embedding.tensors(rows, dtype), embedding.header(one.tag, one.tokens))
            yield described(v1.ADAPTER_FORMAT_EMBEDDING, path)

    def _sheet(self, output: Output) -> Image.Image:
        prompts = self.config.previews.prompts
        rows = [
            SheetRow(prompt.prompt, before, after)
            for prompt, before, after in zip(prompts, output.before, output.after, strict=True)
        ]
        return contact_sheet(rows, self.config.title or self.config.output_name)

    def _adapter(self, output: Output, files: Sequence[v1.AdapterFile]) -> v1.Adapter:
        return v1.Adapter(
            name=f"adapters/{self.config.job}-{output.suffix}",
            training_job=f"trainingJobs/{self.config.job}",
            step=output.step,
            generation=output.generation,
            partial=output.partial,
            base_model=self.record.assignment.base_model.name,
            type=v1.AdapterType.Value(f"ADAPTER_TYPE_{self.config.adapter.type.upper()}"),
            rank=max(layer.rank or 0 for layer in self.adapter.weights()),
            activation_tag=self.config.activation_tag,
            files=files,
            create_time=now(),
            tensors_sha256=self.tensors_digest(),
        )


def described(
    format_: v1.AdapterFormat.ValueType, path: Path, rank: int = 0, relative_error: float | None = None
) -> v1.AdapterFile:
    """What callers are told of a file."""
    return v1.AdapterFile(
        format=format_,
        file_name=path.name,
        size_bytes=path.stat().st_size,
        sha256=sha256_of(path),
        rank=rank,
        relative_error=relative_error,
    )
