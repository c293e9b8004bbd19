"""`make demo`: teaches a tiny Stable Diffusion model a new word, through a service and its client, and measures it.

Everything lands in build/demo. The service listens on this machine only, and ends with the demo. Exit code 0 means that the
numbers moved as they must: the new word is drawn, and the words that the model knew still are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # trainer and service are not installed

from rich.console import Console
from rich.table import Table

from deploy.examples.demo.local_service import ROOT, DemoError, LocalService, local_service, short

if TYPE_CHECKING:
    from deploy.examples.demo.measure import Accuracy, Drawn, Measuring, Numbers

OUT = ROOT / "build" / "demo"
SHEET = OUT / "contact-sheet.png"
BASE = ROOT / "trainer" / "builtin" / "shapes" / "base"
JOB_FILE = Path(__file__).with_name("job.yaml")
TAG = "lumi"

T = TypeVar("T")

console = Console(highlight=False)


class Clock:
    """How long each part took."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, title: str) -> Iterator[None]:
        console.print(f"\n[bold]{title}[/bold]")
        began = time.monotonic()
        yield
        self.parts[title] = time.monotonic() - began

    def __str__(self) -> str:
        parts = ", ".join(f"{title.lower()} {seconds:.0f} s" for title, seconds in self.parts.items())
        return f"Took {sum(self.parts.values()):.0f} s: {parts}."


def train_adapter(service: LocalService, clock: Clock) -> Path:
    """From nothing to an adapter's folder, the way that a user goes."""
    with clock.part("Draw twelve hearts and upload them"), tempfile.TemporaryDirectory(prefix="loramill-") as folder:
        from deploy.examples.demo.dataset import write_dataset

        hearts = Path(folder) / "hearts"
        write_dataset(hearts)
        dataset = service.loramill("dataset", "create", str(hearts), "-o", "name")
    with clock.part("Train"):
        job = service.train(JOB_FILE, dataset)
    with clock.part("Download"):
        adapter = service.loramill("adapter", "list", "--job", job, "-o", "name").splitlines()[-1]
        downloaded = OUT / "adapter"
        console.print(service.loramill("adapter", "download", adapter, "--format", "all", "-o", short(downloaded)))
    return downloaded


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[None]:
    """Empties the folder, which belongs to this demo for as long as its service runs."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another demo works in {short(folder)}; wait for its end.") from None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield


class Stopped(Exception):
    """Nobody waits for this work any more."""


@contextlib.contextmanager
def beside(work: Callable[[Callable[[], None]], T]) -> Iterator[Future[T]]:
    """Does the work in a thread beside the block; leaving the block ends it, at the next call of what it is given."""
    left = threading.Event()

    def stop_if_left() -> None:
        if left.is_set():
            raise Stopped

    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool.submit(work, stop_if_left)
        finally:
            left.set()


def measure_before(between: Callable[[], None]) -> tuple[Measuring, Accuracy, Drawn]:
    """All that needs no adapter, on one core: the trainer is busy on another."""
    import torch

    from deploy.examples.demo.measure import Measuring

    torch.set_num_threads(1)  # of this thread
    measuring = Measuring(BASE, TAG)
    return measuring, measuring.accuracy(), measuring.before(between)


def measure_after(adapter: Path, measuring: Measuring, accuracy: Accuracy, before: Drawn) -> Numbers:
    """All numbers; the contact sheet is written too."""
    from deploy.examples.demo.measure import Numbers, sheet

    after = measuring.after(adapter)
    sheet(measuring, before, after).save(SHEET)
    return Numbers(
        judge=accuracy,
        new_before=before.new.shares,
        new_after=after.new.shares,
        known_before=before.known.shares,
        known_after=after.known.shares,
    )


def print_numbers(numbers: Numbers) -> None:
    table = Table(title="What is drawn as asked, of 100", title_justify="left", title_style="bold")
    for heading in ("", "before", "after", "must be"):
        table.add_column(heading, justify="left" if heading in ("", "must be") else "right")
    pairs = [
        ("new word: a heart", numbers.new_before.shape, numbers.new_after.shape, "at most 10, at least 80"),
        ("… in its colour", numbers.new_before.right, numbers.new_after.right, ""),
        ("known words: the shape", numbers.known_before.shape, numbers.known_after.shape, "5 less at most"),
        ("… in its colour", numbers.known_before.right, numbers.known_after.right, ""),
    ]
    for title, before, after, bound in pairs:
        table.add_row(title, f"{100 * before:.1f}", f"{100 * after:.1f}", bound)
    table.add_section()
    table.add_row("the judge, on drawn pictures", f"{100 * numbers.judge.drawn:.1f}", "", "at least 98")
    table.add_row("… seen through the VAE", f"{100 * numbers.judge.reconstructed:.1f}", "", "at least 98")
    console.print(table)
    console.print(numbers.explanation(), style="dim")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Read by the libraries when they are first imported: they say nothing but errors, and fetch nothing.
    os.environ.update(DIFFUSERS_VERBOSITY="error", TRANSFORMERS_VERBOSITY="error", HF_HUB_OFFLINE="1")
    clock = Clock()
    with contextlib.ExitStack() as running:
        running.enter_context(fresh_folder(OUT))
        with clock.part("Start the service"):
            service = running.enter_context(local_service(OUT / "data", OUT / "service.log", console))
        drawing = running.enter_context(beside(measure_before))
        folder = train_adapter(service, clock)
        adapter = folder / f"{TAG}.safetensors"
        with clock.part("Measure"):
            numbers = measure_after(adapter, *drawing.result())
            print_numbers(numbers)
    console.print()
    for title, path in {"Adapter": adapter, "Contact sheet": SHEET, "Report": folder / "report.html"}.items():
        console.print(f"{title:14} {short(path)}", soft_wrap=True)
    console.print(f"\n{clock}", style="dim")
    failures = numbers.failures()
    for sentence in failures:
        console.print(sentence, style="red")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DemoError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
