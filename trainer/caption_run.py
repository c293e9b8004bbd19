"""The story of a run that captions a dataset's pictures: claim → names → model → pictures → captions and a page of them → end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from PIL import Image

from loramill import v1
from store import open_store
from trainer.base_files import fetch_base
from trainer.cache import Cache
from trainer.cache_folder import near_cache
from trainer.caption_page import Captioned, render
from trainer.captioning import Captioner, load_captioner, shown_pixels
from trainer.data.findings import Findings
from trainer.data.findings import shown as quoted
from trainer.data.images import Decoder, UnreadablePicture
from trainer.data.listing import DataFile, list_files, stem
from trainer.data.rules import PictureRules
from trainer.errors import OutOfMemory, UserError
from trainer.fingerprint import numeric_fingerprint
from trainer.materials import blob_fetcher, dataset_files, read_manifest
from trainer.progress import Reporter
from trainer.record import RunRecord
from trainer.settings import TrainerSettings
from trainer.stopping import StopSignal
from trainer.workplace import device_of, scratch, serve_metrics

FOLDER = "captions"
"""Of a run; in it `captions.jsonl`, an object a line, and `captions.html`, to look through."""
VERSION = 1
"""Of how captions are made: those of other versions are made again."""

log = structlog.get_logger()


def run(record: RunRecord, settings: TrainerSettings, reporter: Reporter, stop: StopSignal) -> str:
    """Does the assignment; its last word when the captions are stored. Raises a TrainerError, and Stopped."""
    try:
        with stop.interrupting(), scratch(settings) as work, Decoder() as decoder:
            serve_metrics(settings)
            reporter.phase(v1.PHASE_CHECKING_DATA, "looking for pictures without a caption")
            bare = without_caption(record.assignment)
            name = record.assignment.base_model.name
            reporter.phase(v1.PHASE_LOADING_MODEL, f"loading {name}")
            writing = _writing(record, settings, work, decoder)
            reporter.phase(v1.PHASE_EXAMINING, "captioning")
            captioned, problems = _captioned(writing, bare, reporter, stop)
            if not captioned:
                raise UserError(problems)
            reporter.phase(v1.PHASE_SAVING, "saving captions")
            _store(record, captioned, problems, work)
    except torch.cuda.OutOfMemoryError as error:
        raise OutOfMemory(f"Memory did not suffice; use a smaller captioner ({error}).") from error
    reporter.phase(v1.PHASE_ENDED, "done")
    unread = f" {len(problems)} could not be read: {' '.join(problems[:3])}" if problems else ""
    return f"{len(captioned)} of {len(bare)} pictures without a caption have one now.{unread}"


def without_caption(assignment: v1.Assignment) -> list[DataFile]:
    """The dataset's pictures without a caption file, in order of path. Raises UserError with all that is wrong with its names."""
    findings = Findings()
    files = dataset_files(read_manifest(assignment.dataset_manifest_uri))
    listing = list_files(files, PictureRules(resolution=512, bucket_step=64), findings)
    findings.raise_problems()
    return [picture for picture in listing.pictures if stem(picture.path) not in listing.captions]


@dataclass(frozen=True)
class _Writing:
    """What captions are written with."""

    assignment: v1.Assignment
    captioner: Captioner
    decoder: Decoder
    cache: Cache
    work: Path
    depends_on: dict[str, object]
    """All that a caption depends on beside its picture."""


def _writing(record: RunRecord, settings: TrainerSettings, work: Path, decoder: Decoder) -> _Writing:
    assignment, device = record.assignment, device_of(settings)
    folder = fetch_base(assignment, work / "model", settings.bases)
    for warning in folder.warnings:
        log.warning(warning)
    how = assignment.captioning
    uri = assignment.cache_uri
    return _Writing(
        assignment=assignment,
        captioner=load_captioner(folder.path, device, prompt=how.prompt, threshold=how.threshold),
        decoder=decoder,
        cache=Cache(open_store(uri), near_cache(settings.caches, uri, settings.caches_gib)),
        work=work,
        depends_on={
            "model": assignment.base_model.digest,
            "prompt": how.prompt,
            "threshold": how.threshold,
            "fingerprint": numeric_fingerprint(device, torch.float32),
            "version": VERSION,
        },
    )


def _captioned(
    writing: _Writing, bare: Sequence[DataFile], reporter: Reporter, stop: StopSignal
) -> tuple[list[Captioned], list[str]]:
    """Each picture that can be read with its caption, and sentences on the others."""
    fetch = blob_fetcher(writing.assignment)
    captioned, problems = list[Captioned](), list[str]()
    for place, picture in enumerate(bare):
        stop.check()
        reporter.count("captioning pictures", place, len(bare))
        path = writing.work / "picture"
        fetch(picture.sha256, path)
        try:
            pixels = shown_pixels(writing.decoder, path)
        except UnreadablePicture as problem:
            problems.append(f"Picture {quoted(picture.path)} {problem.reason}.")
            log.warning(problems[-1])
            continue
        finally:
            path.unlink()
        captioned.append(Captioned(picture.path, _caption(writing, picture, pixels), Image.fromarray(pixels)))
    return captioned, problems


def _caption(writing: _Writing, picture: DataFile, pixels: NDArray[np.uint8]) -> str:
    """Of a picture that was captioned before, without asking the model: a run that goes on where another was killed is quick."""
    key = writing.cache.key("captions", picture=picture.sha256, **writing.depends_on)
    value = writing.cache.get(key)
    if value is None:
        written = writing.captioner.caption(pixels).encode()
        value = {"caption": torch.frombuffer(bytearray(written or b" "), dtype=torch.uint8)}
        writing.cache.put(key, value)
    kept: bytes = value["caption"].numpy().tobytes()
    return kept.decode().strip()


def _store(record: RunRecord, captioned: Sequence[Captioned], problems: Sequence[str], work: Path) -> None:
    rows = [json.dumps({"path": one.path, "caption": one.caption}, ensure_ascii=False) for one in captioned]
    page = render(
        captioned,
        problems,
        dataset=record.assignment.spec.dataset.dataset,
        captioner=record.assignment.base_model.name,
        job=record.assignment.training_job,
    )
    for name, text in (("captions.jsonl", "\n".join(rows) + "\n"), ("captions.html", page)):
        path = work / name
        path.write_text(text, encoding="utf-8")
        record.put_result(f"{FOLDER}/{name}", path)
