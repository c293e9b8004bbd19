"""What preparing pictures costs: `python -m bench.prepare [--pictures N] [--side S]`, two tables.

The first has the time of each phase; for a VAE of Stable Diffusion's size that of a few pictures, scaled up. The second sets the
trainer's way (decoded ahead in the child, written beside the encoding) against a plain loop that decodes, encodes and saves one
picture after another, in turns in one process.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from store import open_store
from store.digests import sha256_of
from trainer.cache import Cache
from trainer.data.dataset import DataFile, Example, read_dataset
from trainer.data.images import Decoder
from trainer.data.rules import CaptionRules, PictureRules, SubsetRules
from trainer.data_report.looking import look_at
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.families.registry import load_base
from trainer.latents import encode_examples

BASE = Path("trainer/builtin/shapes/base")
LARGE = (128, 256, 512, 512)
"""Widths of the VAE of Stable Diffusion 1.x."""
SAMPLE = 2
"""Pictures that the large VAE encodes."""


@dataclass
class Clock:
    """Seconds by phase: on the wall, and of the processor (here and in the decoding child), which neighbours change less."""

    decoder: Decoder
    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        wall, processor = time.monotonic(), self._processor()
        yield
        self.seconds[phase] = time.monotonic() - wall, self._processor() - processor

    def _processor(self) -> float:
        spent = time.process_time()
        if self.decoder.child_pid is not None:
            ticks = Path(f"/proc/{self.decoder.child_pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            spent += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        return spent


def photographs(folder: Path, count: int, side: int) -> list[DataFile]:
    """JPEG pictures with as much detail as photographs have, each with a caption of its own; `side` pixels square."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(count):
        coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
        picture = (picture + rng.integers(-12, 13, picture.shape)).clip(0, 255).astype(np.uint8)
        path = folder / f"{number}.jpg"
        Image.fromarray(picture).save(path, quality=90)
        path.with_suffix(".txt").write_text(f"picture number {number}")
        files += [file_of(path), file_of(path.with_suffix(".txt"))]
    return files


def file_of(path: Path) -> DataFile:
    return DataFile(path.name, sha256_of(path), path.stat().st_size)


def quiet(_: int, __: int) -> None:
    """No progress."""


def encoded(examples: list[Example], base: Base, decoder: Decoder, cache: Cache, work: Path) -> None:
    """The trainer's way."""
    encode_examples(
        examples,
        base,
        decoder,
        cache,
        vae_digest="v",
        fingerprint="f",
        mirrored=lambda _: False,
        progress=quiet,
        work=work,
    )


def in_a_plain_loop(examples: list[Example], base: Base, decoder: Decoder, cache: Cache) -> None:
    """One thing after another, as most scripts do."""
    for number, example in enumerate(examples):
        pixels = decoder.pixels(example.file, example.resize, example.crops[0])
        mean, logvar = base.encode_pictures(pixels[None])
        cache.put(f"plain/{number}.safetensors", {"mean": mean[0], "logvar": logvar[0]})


class Slow:
    """A store whose every answer takes a while, as one across a network does."""

    def __init__(self, store: object, seconds: float) -> None:
        self._store, self._seconds = store, seconds

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._store, name)

        def slow(*arguments: object) -> object:
            time.sleep(self._seconds)
            return method(*arguments)

        return slow


def cache_in(folder: Path, milliseconds: float) -> Cache:
    return Cache(Slow(open_store(folder.as_uri() + "/"), milliseconds / 1000))  # type: ignore[arg-type]


def against_a_plain_loop(
    examples: list[Example], base: Base, decoder: Decoder, work: Path, milliseconds: float, rounds: int
) -> tuple[str, ...]:
    """(store's answer, seconds of the plain loop, of the trainer, of the trainer again, ratio): the best of `rounds` in turns."""
    times: dict[str, list[float]] = {"plain": [], "trainer": [], "again": []}
    for number in range(rounds):
        folder = work / f"{milliseconds}-{number}"
        for name, seconds in one_round(examples, base, decoder, folder, milliseconds):
            times[name].append(seconds)
    plain, trainer, again = (min(times[name]) for name in ("plain", "trainer", "again"))
    ratio = f"{plain / trainer:.2f}"
    return f"{milliseconds:g} ms", f"{plain:.1f} s", f"{trainer:.1f} s", f"{again:.2f} s", ratio


def one_round(
    examples: list[Example], base: Base, decoder: Decoder, folder: Path, milliseconds: float
) -> Iterator[tuple[str, float]]:
    """(way, its seconds), each with a cache of its own."""
    clock = Clock(decoder)
    with clock.of("plain"):
        in_a_plain_loop(examples, base, decoder, cache_in(folder / "plain", milliseconds))
    for name in ("trainer", "again"):
        with clock.of(name):
            encoded(examples, base, decoder, cache_in(folder / "trainer", milliseconds), folder.parent)
    yield from ((name, wall) for name, (wall, _) in clock.seconds.items())


def large_vae_seconds(side: int) -> tuple[float, float]:
    """On the wall and of the processor, of one picture, by a VAE of Stable Diffusion's size with random weights, in fp32."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    blocks = len(LARGE)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * blocks,
        up_block_types=["UpDecoderBlock2D"] * blocks,
        block_out_channels=LARGE,
        layers_per_block=2,
        latent_channels=4,
        sample_size=side,
    ).eval()
    pictures = torch.rand(1, 3, side, side)
    with torch.no_grad():
        vae.encode(pictures)
        began, spent = time.monotonic(), time.process_time()
        for _ in range(SAMPLE):
            vae.encode(pictures)
    return (time.monotonic() - began) / SAMPLE, (time.process_time() - spent) / SAMPLE


def phases(folder: Path, files: list[DataFile], side: int, base: Base, decoder: Decoder, work: Path) -> Clock:
    """Seconds of each phase, over all pictures."""
    decoder.pixels(folder / files[0].path, (side, side), (0, 0, side, side))  # the child is there from the start
    clock = Clock(decoder)
    by_digest = {file.sha256: folder / file.path for file in files}

    def fetch(sha256: str, path: Path) -> None:
        path.write_bytes(by_digest[sha256].read_bytes())

    rules, subsets = PictureRules(resolution=side, bucket_step=64), [SubsetRules(captions=CaptionRules())]
    with clock.of("check: fetch, digest and decode every file"):
        examples = list(read_dataset(files, fetch, work / "data", subsets, rules, decoder, quiet).examples)
    with clock.of("decode and resize (beside the encoding, in the child)"):
        for example in examples:
            decoder.pixels(example.file, example.resize, example.crops[0])
    black = np.zeros((1, side, side, 3), np.uint8)
    base.encode_pictures(black)
    with clock.of("encode by the built-in VAE"):
        for _ in examples:
            base.encode_pictures(black)
    cache = Cache(open_store((work / "cache").as_uri() + "/"))
    value = dict(zip(("mean", "logvar"), (one[0] for one in base.encode_pictures(black)), strict=True))
    with clock.of("write to the store (beside the encoding)"), cache.writing() as writer:
        for number in range(len(examples)):
            writer.put(f"latents/{number}.safetensors", value)
    words = Words(
        base, cache, digests={one.name: "e" for one in base.text_encoders}, fingerprint="f", trained=(), work=work
    )
    with clock.of("encode captions"):
        words.prepare([example.caption for example in examples], [], quiet)
    with clock.of("pictures as the trainer prepares them, all of it together"):
        encoded(examples, base, decoder, cache, work)
    with clock.of("the same again, from the cache"):
        encoded(examples, base, decoder, cache, work)
    with clock.of("data report: measures of pixels"):
        look_at(examples, decoder, cache, quiet)
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prepare", description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--compared", type=int, default=48, help="pictures of the comparison with a plain loop")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--large", action=argparse.BooleanOptionalAction, default=True, help="the VAE of SD's size too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Decoder() as decoder:
        work, pictures = Path(folder), Path(folder) / "pictures"
        pictures.mkdir()
        files = photographs(pictures, options.pictures, options.side)
        base = load_base("sd15", BASE, torch.device("cpu"), torch.float32)
        print(
            f"{torch.get_num_threads()} threads of torch, {options.pictures} pictures of {options.side}×{options.side}\n"
        )
        clock = phases(pictures, files, options.side, base, decoder, work)
        print(f"| phase | of {options.pictures} pictures | of one | processor time of one |\n|---|---|---|---|")
        for phase, (wall, spent) in clock.seconds.items():
            of_one = f"{1000 * wall / options.pictures:.1f} ms | {1000 * spent / options.pictures:.1f} ms"
            print(f"| {phase} | {wall:.1f} s | {of_one} |", flush=True)
        if options.large:
            wall, spent = large_vae_seconds(options.side)
            print(
                f"| encode by a VAE of Stable Diffusion's size, from {SAMPLE} pictures | {wall * options.pictures:.0f} s | "
                f"{1000 * wall:.0f} ms | {1000 * spent:.0f} ms |",
                flush=True,
            )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"\npeak memory of the trainer's process: {peak} MiB\n")
        examples = example_list(pictures, files[: 2 * options.compared], options.side, decoder, work)
        print(f"{options.compared} pictures, built-in VAE, store's answer as given; best of {options.rounds}\n")
        print("| store's answer | plain loop | trainer | trainer again | plain / trainer |\n|---|---|---|---|---|")
        for milliseconds in (0.0, 20.0):
            row = against_a_plain_loop(examples, base, decoder, work, milliseconds, options.rounds)
            print("| " + " | ".join(row) + " |", flush=True)


def example_list(folder: Path, files: list[DataFile], side: int, decoder: Decoder, work: Path) -> list[Example]:
    by_digest = {file.sha256: folder / file.path for file in files}
    rules = PictureRules(resolution=side, bucket_step=64)

    def fetch(sha256: str, path: Path) -> None:
        path.write_bytes(by_digest[sha256].read_bytes())

    reading = read_dataset(
        files,
        fetch,
        work / "data",
        [],
        rules,
        decoder,
        quiet,
    )
    return list(reading.examples)


if __name__ == "__main__":
    main()
