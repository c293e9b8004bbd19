"""What the control plane does on this machine, beside the naive form of the same thing: `python -m bench.control_plane`.

Everything runs here: the S3 server (versitygw of `deploy.cluster`), the service, its callers. The naive form
(`bench/scale/naive.py`) is measured in the same run, in turns with ours; the ratios are what counts. Figures of docs/scale.md.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.scale import listing, load, records, relist
from bench.scale.place import BUCKET, URI, emptied, s3, server, usage_of
from deploy.examples.demo.dataset import write_dataset
from loramill import v1
from loramill.client import Client
from service.keys import TenantKeys, job_of_name
from store.object_store import ObjectStore
from store.open import open_store
from store.records import read_record
from store.s3 import S3Store

FORMS = ("naive", "ours")
_TENANT = TenantKeys("local")
_REQUESTS = 500


@dataclass(frozen=True)
class Options:
    seconds: float
    rounds: int
    callers: int
    streams: int
    jobs: int
    every: float
    listed: int
    records: int


@dataclass(frozen=True)
class Bench:
    options: Options
    folder: Path
    beginning: Path
    """A bucket's folder with a dataset and a base model, and without jobs."""
    spec: v1.TrainingSpec
    create: v1.CreateRecord

    @contextmanager
    def bucket(self) -> Iterator[ObjectStore]:
        """A new one in which nothing has happened: a service that starts takes up all jobs that it finds."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name, s3(Path(name) / "s3", self.beginning):
            yield open_store(URI, quick=True)

    @contextmanager
    def served(self, form: str, threads: int = 32) -> Iterator[tuple[int, int]]:
        """Port and pid of one form, begun anew."""
        if form == "naive":
            with server("bench.scale.naive", str(threads)) as found:
                yield found
        else:
            with _ours(emptied(self.folder / "service"), URI) as found:
                yield found


def row(what: str, told: Iterable[str], ratio: str = "") -> None:
    """`told` is of the naive form, and of ours."""
    naive, ours = told
    print(f"| {what} | {naive} | {ours} | {ratio} |", flush=True)


@contextmanager
def _ours(folder: Path, store: str) -> Iterator[tuple[int, int]]:
    with server("bench.scale.ours", str(folder), store) as found:
        yield found


def made_ready(address: str, folder: Path) -> v1.TrainingSpec:
    """A dataset is uploaded; a spec that trains on it."""
    write_dataset(folder)
    with Client(address) as client:
        dataset = client.upload_dataset(folder)
    spec = v1.TrainingSpec(base_model="baseModels/shapes", dataset=v1.DatasetSpec(dataset=dataset.name))
    spec.concept.activation_tag = "lumi"
    return spec


# -- requests ----------------------------------------------------------------------------------------------------------


def requests(bench: Bench) -> None:
    """Processor time of one request of the store, of whoever sends it: over boto3, and as the service does it."""
    content = b"x" * 3000
    acts: dict[str, Callable[[ObjectStore, str], object]] = {
        "a record written": lambda store, key: store.put_new(key, content),
        "a record read": lambda store, key: store.get(key),
    }
    with bench.bucket():
        stores = (S3Store(BUCKET), S3Store(BUCKET, quick=True))
        for what, act in acts.items():
            spent = []
            for place, store in enumerate(stores):
                act(store, f"bench/{place}/first")  # it opens the connection
                began = time.process_time()
                for number in range(_REQUESTS):
                    act(store, f"bench/{place}/{number}")
                spent.append((time.process_time() - began) / _REQUESTS * 1e3)
            row(f"{what}: CPU of whoever asks", (f"{each:.2f} ms" for each in spent), _times([spent[0] / spent[1]]))


# -- creates -----------------------------------------------------------------------------------------------------------


def creates(bench: Bench) -> None:
    """As many as are answered, in turns; then ours and the naive form at half of their own."""
    rates: dict[str, list[float]] = {form: [] for form in FORMS}
    cpu: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(bench.options.rounds):
        for form in FORMS:
            with bench.bucket(), bench.served(form) as (port, pid):
                asyncio.run(load.as_many_as_possible(port, bench.spec, 4, 1.0))  # the first ones open connections
                before = usage_of(pid)
                found = asyncio.run(
                    load.as_many_as_possible(port, bench.spec, bench.options.callers, bench.options.seconds)
                )
                rates[form].append(found.rate)
                cpu[form].append((usage_of(pid).cpu_s - before.cpu_s) / len(found.seconds) * 1e3)
    rate = {form: statistics.median(rates[form]) for form in FORMS}
    ratios = [ours / naive for ours, naive in zip(rates["ours"], rates["naive"], strict=True)]
    callers = bench.options.callers
    row(f"durable creates a second, {callers} callers", (f"{rate[form]:.0f}" for form in FORMS), _times(ratios))
    spent = [statistics.median(cpu[form]) for form in FORMS]
    row("CPU of the service for one", (f"{each:.1f} ms" for each in spent), _times([spent[0] / spent[1]]))
    told = {}
    for form in FORMS:
        with bench.bucket(), bench.served(form) as (port, pid):
            asyncio.run(load.as_many_as_possible(port, bench.spec, 4, 1.0))
            before = usage_of(pid)
            found = asyncio.run(load.at_a_rate(port, bench.spec, rate[form] / 2, bench.options.seconds))
            used = usage_of(pid)
            cores = (used.cpu_s - before.cpu_s) / bench.options.seconds
            told[form] = (
                f"{found.rate:.0f}/s: p50 {found.at(0.5) * 1e3:.0f} ms, p99 {found.at(0.99) * 1e3:.0f} ms",
                f"{cores:.2f} cores, {used.memory / 1e6:.0f} MB",
            )
    for place, what in enumerate(("creates at half of its own rate", "the service meanwhile")):
        row(what, (told[form][place] for form in FORMS))


def creates_in_a_folder(bench: Bench) -> None:
    """Local mode: the record is a folder of files, each synced to the disk."""
    folder = emptied(bench.folder / "local")
    with _ours(folder, "file") as (port, _):
        spec = made_ready(f"127.0.0.1:{port}", bench.folder / "hearts-local")
        found = asyncio.run(load.as_many_as_possible(port, spec, bench.options.callers, bench.options.seconds))
    row("durable creates a second, file store", ("–", f"{found.rate:.0f} (p99 {found.at(0.99) * 1e3:.0f} ms)"))


# -- watches -----------------------------------------------------------------------------------------------------------


def watches(bench: Bench) -> None:
    options = bench.options
    told: dict[str, Sequence[str]] = {}
    for form in FORMS:
        with bench.bucket() as store:
            jobs = records.running_jobs(store, bench.create, options.jobs)
            with bench.served(form, threads=options.streams + 16) as (port, pid):
                time.sleep(3)  # ours has looked at every job once
                before = usage_of(pid)
                if form == "ours":
                    time.sleep(2 * options.seconds)
                    now = usage_of(pid)
                    cores = (now.cpu_s - before.cpu_s) / (2 * options.seconds)
                    unwatched = f"{cores:.2f} cores, {now.memory / 1e6:.0f} MB"
                    before = now
                delays, written, cores, memory = asyncio.run(_watched(options, store, port, pid, jobs))
        expected = written * options.streams // options.jobs
        ordered = sorted(delays)
        told[form] = (
            f"p50 {ordered[len(ordered) // 2]:.2f} s, p99 {ordered[int(len(ordered) * 0.99)]:.2f} s"
            if ordered
            else "none came",
            f"{len(delays)} of about {expected}",
            f"{memory / 1e6:.0f} MB, {(memory - before.memory) / 1e6:.0f} more than before",
            f"{cores:.2f} cores",
        )
    row(f"{options.jobs} jobs that train, watched by nobody", ("–", unwatched))
    what = f"{options.streams} watches of {options.jobs} jobs, an event of each every {options.every:g} s: delay"
    for place, name in enumerate((what, "events that came meanwhile", "memory of the service", "CPU of the service")):
        row(name, (told[form][place] for form in FORMS))


async def _watched(
    options: Options, store: ObjectStore, port: int, pid: int, jobs: list[str]
) -> tuple[list[float], int, float, int]:
    """Delays in seconds, statuses that were written, and cores and memory of the service."""
    settled, seconds = asyncio.Event(), options.seconds * 2
    watching = asyncio.create_task(load.watched(port, jobs, options.streams, seconds, settled))
    await settled.wait()
    writing = asyncio.create_task(asyncio.to_thread(_write_statuses, options, store, jobs, seconds))
    before = usage_of(pid)
    delays = await watching
    used = usage_of(pid)
    return delays, await writing, (used.cpu_s - before.cpu_s) / seconds, used.memory


def _write_statuses(options: Options, store: ObjectStore, jobs: list[str], seconds: float) -> int:
    """Of one job after the other, evenly, each with the time at which it was written; how many there was time for."""
    began, pause = time.monotonic(), options.every / len(jobs)
    for number in range(int(seconds / pause)):
        time.sleep(max(0.0, began + number * pause - time.monotonic()))
        if time.monotonic() - began >= seconds:
            return number
        records.write_status(store, jobs[number % len(jobs)], str(time.time_ns()))
    return int(seconds / pause)


# -- lists -------------------------------------------------------------------------------------------------------------


def lists(bench: Bench) -> None:
    """The naive form gets limited time for the whole."""
    count = bench.options.records
    found: dict[str, listing.Listed] = {}
    with bench.bucket() as store:
        records.ended_jobs(store, bench.create, count)
        for form, most_seconds in (("naive", bench.options.seconds), ("ours", float("inf"))):
            with bench.served(form) as (port, pid):
                found[form] = listing.listed(port, pid, most_seconds)
    naive, ours = (found[form] for form in FORMS)
    assert ours.jobs == count, ours
    row(f"{count} records listed", (naive.whole(count), ours.whole(count)), _times([naive.each_s / ours.each_s]))
    told = (f"{one.each_cpu_s * 1e3:.1f} ms" for one in (naive, ours))
    row("CPU of the service for one of them", told, _times([naive.each_cpu_s / ours.each_cpu_s]))
    told = (f"{one.page_seconds:.2f} s" for one in (naive, ours))
    what = f"first page of those that failed, one in {records.FAILED_OF}"
    row(what, told, _times([naive.page_seconds / ours.page_seconds]))
    row("memory of the service, more than before", (f"{one.grown / 1e6:.0f} MB" for one in (naive, ours)))


# -- relist ------------------------------------------------------------------------------------------------------------


def relists(options: Options) -> None:
    with server("bench.scale.relist", str(options.listed)) as (port, _):
        relist.ours(port), relist.ours(port)  # the server makes its pages once
        found: dict[str, list[relist.Relisted]] = {form: [] for form in FORMS}
        for _ in range(options.rounds):
            for form, way in (("naive", relist.naive), ("ours", relist.ours)):
                found[form].append(way(port))
                assert found[form][-1].jobs == options.listed, found[form]
    taken_of: Mapping[str, Callable[[relist.Relisted], float]] = {
        "": lambda one: one.seconds,
        ": CPU of whoever lists": lambda one: one.cpu_s,
    }
    for what, taken in taken_of.items():
        spent = [[taken(one) for one in found[form]] for form in FORMS]
        ratios = [naive / ours for naive, ours in zip(*spent, strict=True)]
        row(
            f"relist of {options.listed} Jobs{what}",
            (f"{statistics.median(each):.2f} s" for each in spent),
            _times(ratios),
        )


def _times(ratios: Sequence[float]) -> str:
    middle = statistics.median(ratios)
    return f"{middle:.1f}×" + (f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else "")


PARTS: dict[str, Callable[[Bench], Any]] = {
    "requests": requests,
    "creates": creates,
    "folder": creates_in_a_folder,
    "watches": watches,
    "lists": lists,
    "relist": lambda bench: relists(bench.options),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.control_plane", description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of creates and relists, naive and ours in turns")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=200, help="that are watched")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two events of a watched job")
    parser.add_argument("--listed", type=int, default=10_000, help="Kubernetes Jobs in a relist")
    parser.add_argument("--records", type=int, default=10_000, help="of ended jobs, which are listed")
    given = vars(parser.parse_args())
    parts, options = given.pop("parts"), Options(**given)
    print("| | naive | ours | ratio |\n|---|---|---|---|", flush=True)
    if parts == ["relist"]:
        relists(options)
        return
    with tempfile.TemporaryDirectory(prefix="control-plane-") as name:
        bench = _prepared(options, Path(name))
        for part in parts:
            PARTS[part](bench)


def _prepared(options: Options, folder: Path) -> Bench:
    """A service imports its base model, takes a dataset and a job; the job is removed, and its record kept in mind."""
    beginning = folder / "beginning"
    with s3(beginning):
        store = open_store(URI, quick=True)
        with _ours(emptied(folder / "service"), URI) as (port, _):
            spec = made_ready(f"127.0.0.1:{port}", folder / "hearts")
            with Client(f"127.0.0.1:{port}") as client:
                job = job_of_name(client.create_job(spec).name)
        assert job is not None
        create = read_record(store, _TENANT.job(job).record, v1.CreateRecord)
        assert create is not None
        for prefix in (_TENANT.active_prefix, _TENANT.requests_prefix, _TENANT.jobs_prefix):
            for entry in list(store.list(prefix)):
                store.delete(entry.key)
    return Bench(options, folder, beginning, spec, create)


if __name__ == "__main__":
    main()
