"""`dataset-report`: what there is to say of a folder of pictures before anything is trained on it."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from store import open_store
from store.digests import sha256_of
from trainer.cache import Cache
from trainer.data.dataset import DataFile, Example, Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.rules import CaptionRules, PictureRules, SubsetRules
from trainer.data_report.as_json import as_json
from trainer.data_report.budget import unlimited
from trainer.data_report.document import render
from trainer.data_report.looking import look_at
from trainer.data_report.report import Captions, DataReport, data_report
from trainer.data_report.table import as_table
from trainer.errors import UserError
from trainer.tools.printing import printable

_REPEATS = re.compile(r"([0-9]+)_")


@dataclass(frozen=True, kw_only=True)
class BaseChoice:
    """The base model that is asked about the pictures."""

    folder: Path
    family: str


def dataset_report(
    folder: Path,
    rules: PictureRules,
    activation_tag: str,
    base: BaseChoice | None,
    html: Path | None,
    *,
    as_json_: bool,
) -> None:
    """Prints the report of the pictures and captions below `folder`, and writes it as a page where `html` says.

    Raises UserError with everything that keeps the pictures from being trained on.
    """
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if _is_of_dataset(path, folder)}
    if not paths:
        raise UserError(f"There is no file in {folder}; name the folder that pictures and captions lie in.")
    files = [DataFile(name, sha256_of(path), path.stat().st_size) for name, path in paths.items()]
    by_digest = {file.sha256: paths[file.path] for file in files}
    subsets = subsets_of(list(paths), activation_tag)
    with tempfile.TemporaryDirectory(prefix="loramill-") as work, Decoder() as decoder:

        def fetch(sha256: str, path: Path) -> None:
            shutil.copyfile(by_digest[sha256], path)

        reading = read_dataset(files, fetch, Path(work) / "data", subsets, rules, decoder, _quiet)
        for warning in reading.warnings:
            print(printable(f"Note: {warning}"), file=sys.stderr)
        cache = Cache(open_store((Path(work) / "cache").as_uri() + "/"))
        name = folder.resolve().name
        if base is None:
            looks = look_at(reading.examples, decoder, cache, _quiet)
            texts = [example.caption for example in reading.examples]
            report = data_report(name, reading.examples, looks, subsets, rules, Captions(texts=texts))
        else:
            report = _judged(name, reading, subsets, rules, base, decoder, cache)
    if html is not None:
        html.write_text(render(report), encoding="utf-8")
    print(as_json(report) if as_json_ else as_table(report), end="\n" if as_json_ else "")


def _is_of_dataset(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.is_file() and not path.is_symlink() and not hidden


def subsets_of(paths: Sequence[str], activation_tag: str) -> list[SubsetRules]:
    """One for each folder directly below, `10_name/` with ten repeats, and one for the files beside them."""
    captions = CaptionRules(source="file_or_fixed")
    prefixes = sorted({path.partition("/")[0] + "/" for path in paths if "/" in path})
    if any("/" not in path for path in paths):
        prefixes.append("")
    repeats = [max(1, int(match[1])) if (match := _REPEATS.match(prefix)) else 1 for prefix in prefixes]
    return [
        SubsetRules(path_prefix=prefix, repeats=count, captions=captions, activation_tag=activation_tag)
        for prefix, count in zip(prefixes, repeats, strict=True)
    ]


def _judged(
    name: str,
    reading: Reading,
    subsets: Sequence[SubsetRules],
    rules: PictureRules,
    choice: BaseChoice,
    decoder: Decoder,
    cache: Cache,
) -> DataReport:
    import torch

    from trainer.data_report.job import Reporting
    from trainer.embeddings import Words
    from trainer.families.registry import load_base
    from trainer.latents import encode_examples

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = load_base(choice.family, choice.folder, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    # Nothing of this cache outlives the command, so that it need not be told which base it is of.
    words = Words(base, cache, digests={one.name: one.name for one in base.text_encoders}, fingerprint="", trained=())
    posteriors = encode_examples(
        reading.examples, base, decoder, cache, vae_digest="", fingerprint="", mirrored=lambda _: False, progress=_quiet
    )
    reporting = Reporting(
        subsets=subsets,
        rules=rules,
        base=base,
        base_name=choice.folder.resolve().name,
        base_digest="",
        fingerprint="",
        at_once=4,
        decoder=decoder,
        cache=cache,
        progress=_silent,
    )
    texts = [_text(example, subsets[example.subset]) for example in reading.examples]
    return reporting.made(name, reading.examples, texts, words, posteriors, unlimited(len(reading.examples)))


def _text(example: Example, subset: SubsetRules) -> str:
    """The caption with the tag in front, as it is trained where nothing else is asked for."""
    return ", ".join(part for part in (subset.activation_tag, example.caption) if part)


def _quiet(_: int, __: int) -> None:
    """Of what the command is at, nothing is told: it ends in what was asked for."""


def _silent(_: str) -> Callable[[int, int], None]:
    return _quiet
