"""`caption-dataset`: writes a caption file beside each picture of a folder that has none, for people to look through."""

from __future__ import annotations

from pathlib import Path

import torch

from store.digests import sha256_of
from trainer.captioning import load_captioner, shown_pixels
from trainer.data.findings import Findings, shown
from trainer.data.images import Decoder, UnreadablePicture
from trainer.data.listing import DataFile, list_files, stem
from trainer.data.rules import PictureRules
from trainer.errors import UserError
from trainer.tools.printing import say


def caption_dataset(folder: Path, model: Path, prompt: str, threshold: float, device: str) -> None:
    """Captions the pictures below `folder`; a caption that is there is never touched.

    Raises UserError with every picture that cannot be read, after the others have their captions.
    """
    bare = without_caption(folder)
    if not bare:
        say(f"Every picture below {folder} has a caption; nothing was done.")
        return
    captioner = load_captioner(model, torch.device(device), prompt=prompt, threshold=threshold)
    problems, written = [], 0
    with Decoder() as decoder:
        for path in bare:
            try:
                pixels = shown_pixels(decoder, path)
            except UnreadablePicture as problem:
                problems.append(f"Picture {shown(str(path.relative_to(folder)))} {problem.reason}.")
                continue
            caption = captioner.caption(pixels)
            with path.with_suffix(".txt").open("x", encoding="utf-8") as file:
                file.write(f"{caption}\n")
            written += 1
            say(f"{path.relative_to(folder)}: {caption or '(nothing)'}")
    say(
        f"{written} of {len(bare)} pictures without a caption have one now. Look through the .txt files, then upload the folder: "
        f"loramill dataset create {folder}"
    )
    if problems:
        raise UserError(problems)


def without_caption(folder: Path) -> list[Path]:
    """The pictures below the folder that have no caption file, in order of path. Raises UserError where there is no picture."""
    findings = Findings()
    files = [
        DataFile(str(path.relative_to(folder)), sha256_of(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    ]
    listing = list_files(files, PictureRules(resolution=512, bucket_step=64), findings)
    findings.raise_problems()
    return [folder / picture.path for picture in listing.pictures if stem(picture.path) not in listing.captions]
