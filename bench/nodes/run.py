"""One run inside the network of a cluster of simulated nodes: `python -m bench.nodes` starts that and comes here."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw

from bench.nodes import accounts, facts, scenario
from bench.nodes.accounts import EndedJob
from bench.nodes.fixed import make_nodes
from bench.nodes.scenario import PlannedJob
from bench.nodes.served import environment, root_of, served
from deploy.cluster import autoscaler, processes
from deploy.cluster.control_plane import kubectl
from deploy.cluster.paths import KUBECONFIG, ROOT, STATE
from loramill import v1
from loramill.client import Client
from loramill.credentials import Credentials
from service.indexes import ended_jobs
from service.kubernetes_api import api_at
from store import ObjectStore, open_store

TENANT = "local"
"""Of everybody who calls a service that asks nobody who he is."""

_LOOK_SECONDS = 3.0
_SCALE_DOWN_SECONDS = 180.0


def run(options: argparse.Namespace) -> int:
    """0 if all was as it should be; prints the table, and what was not."""
    namespace, folder = f"nodes-{uuid.uuid4().hex[:8]}", Path(tempfile.mkdtemp(prefix="run-", dir=STATE))
    os.environ.update(environment())
    _make_namespace(namespace)
    if not options.nodes:
        pools = scenario.pools(options.gpus)
        autoscaler.start(scenario.INSTANCE_TYPES, pools, scenario.BOOT_SECONDS)
    planned = scenario.planned_jobs(options.jobs, options.over, options.seed)
    began = time.monotonic()
    with _machines(namespace, folder, options), served(namespace, folder) as address:
        with Client(address, credentials=Credentials()) as client:
            if options.nodes:
                make_nodes(api_at(KUBECONFIG), options.nodes, options.gpus_per_node)
            _say(began, f"serves on {address}; its log and the machines' are in {folder}")
            names = _create(client, planned, _dataset(client, folder), began)
            ended = _wait(client, open_store(root_of(namespace)), names, began, options.limit)
        nodes_left = 0 if options.nodes else _wait_for_no_nodes(began)
    found = facts.read(folder / "facts.jsonl")
    faults = [*accounts.faults(ended, len(planned), found, nodes_left)]
    print(accounts.table(accounts.rows(ended, found)))
    print(_summary(ended, options))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


def _make_namespace(name: str) -> None:
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    metadata = {"name": name, "labels": labels}
    kubectl("create", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))

    def takes_pods() -> bool:
        return kubectl("-n", name, "get", "serviceaccount", "default", "--ignore-not-found", "-o", "name") != ""

    processes.wait_until(takes_pods, 30, f"Namespace {name} has no service account")


@contextmanager
def _machines(namespace: str, folder: Path, options: argparse.Namespace) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.nodes.machines", f"--namespace={namespace}"]
    command += [f"--facts={folder / 'facts.jsonl'}", f"--interrupt={options.interrupt}"]
    with (folder / "machines.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _dataset(client: Client, folder: Path) -> str:
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, colour in enumerate(("red", "green", "blue", "orange"), 1):
        picture = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(picture).ellipse((12, 12, 52, 52), fill=colour)
        picture.save(pictures / f"{number}.png")
        (pictures / f"{number}.txt").write_text(f"a {colour} disc")
    return client.upload_dataset(pictures).name


def _spec(dataset: str, job: PlannedJob) -> v1.TrainingSpec:
    return v1.TrainingSpec(
        base_model="baseModels/shapes",
        dataset=v1.DatasetSpec(dataset=dataset),
        concept=v1.ConceptSpec(kind=v1.CONCEPT_KIND_NEW, activation_tag="qzx"),
        adapter=v1.AdapterSpec(rank=4, alpha=4),
        optimization=v1.OptimizationSpec(steps=job.steps, batch_size=2, seed=3),
        checkpoints=v1.CheckpointSpec(every_steps=job.checkpoint_every),
        outputs=v1.OutputSpec(name="simulated"),
        compute_class=job.compute_class,
    )


def _create(client: Client, planned: Sequence[PlannedJob], dataset: str, began: float) -> set[str]:
    names, first = set(), time.monotonic()
    for job in planned:
        time.sleep(max(0.0, first + job.at - time.monotonic()))
        names.add(client.create_job(_spec(dataset, job)).name)
    _say(began, f"{len(names)} jobs created within {time.monotonic() - first:.1f} s")
    return names


def _wait(client: Client, record: ObjectStore, names: set[str], began: float, limit: float) -> list[EndedJob]:
    """Those that have ended, when all have or the time is over. Looks at the index: to read all jobs again and again costs more
    than they do."""
    deadline, told = time.monotonic() + limit, -1
    while True:
        ended = {f"trainingJobs/{job}" for job, _ in ended_jobs(record, TENANT)} & names
        if len(ended) * 10 // len(names) != told:
            told = len(ended) * 10 // len(names)
            _say(began, f"{len(ended)} of {len(names)} jobs have ended")
        if ended == names or time.monotonic() > deadline:
            for job in map(client.get_job, sorted(names - ended)):
                why = f"{v1.StateReason.Name(job.state_reason)}: {job.state_message}"
                _say(began, f"{job.name} has not ended: {why}")
            return [_ended(client.get_job(name)) for name in sorted(ended)]
        time.sleep(_LOOK_SECONDS)


def _ended(job: v1.TrainingJob) -> EndedJob:
    return EndedJob(
        id=job.name.removeprefix("trainingJobs/"),
        compute_class=job.spec.compute_class,
        steps=job.spec.optimization.steps,
        created=job.create_time.ToMicroseconds() / 1e6,
        started=job.start_time.ToMicroseconds() / 1e6,
        ended=job.end_time.ToMicroseconds() / 1e6,
        succeeded=job.state == v1.TRAINING_JOB_STATE_SUCCEEDED,
        launches=len(job.launches),
        message=job.state_message,
    )


def _wait_for_no_nodes(began: float) -> int:
    """How many are left when there is none any more, or the time is over."""
    deadline = time.monotonic() + _SCALE_DOWN_SECONDS
    while True:
        left = len(kubectl("get", "nodes", "--output=name").split())
        if left == 0 or time.monotonic() > deadline:
            _say(began, f"{left} nodes are left")
            return left
        time.sleep(_LOOK_SECONDS)


def _summary(ended: Sequence[EndedJob], options: argparse.Namespace) -> str:
    if not ended:
        return "No job has ended."
    seconds = max(job.ended for job in ended) - min(job.created for job in ended)
    where = f"{options.nodes} fixed nodes" if options.nodes else f"at most {options.gpus} GPUs of each class"
    return (
        f"{len(ended)} jobs within {seconds:.0f} s from the first creation to the last outcome, on {where}. Simulated: machines, "
        f"trainers, interruptions. Real: the API server, scheduler and controllers, "
        f"{'' if options.nodes else 'Karpenter, '}the service, the store."
    )


def _say(began: float, words: str) -> None:
    print(f"{time.monotonic() - began:6.1f} s  {words}", flush=True)
