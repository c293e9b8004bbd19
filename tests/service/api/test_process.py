"""The real command: `python -m service --local`."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from loramill import v1
from loramill.v1.base_model_service_pb2_grpc import BaseModelServiceStub
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from service.composition import serving
from service.platforms.local import local_platform
from service.settings import Settings, Unusable, read_settings
from tests.service.api.api import Api, error_of
from tests.service.api.fakes import FakeExecutor
from tests.service.api.tiny_base import write_base

PATIENCE = 60.0
REPOSITORY = Path(__file__).resolve().parents[3]


def command(tmp_path: Path, *arguments: str) -> list[str]:
    base = tmp_path / "shapes"
    if not base.exists():
        write_base(base)
    fixed = ["--local", "--data", str(tmp_path / "data"), "--builtin-shapes", str(base), "--metrics-port", "0"]
    return [sys.executable, "-m", "service", *fixed, *arguments]


def failed(arguments: list[str]) -> str:
    """What a service that must not start says."""
    result = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@contextmanager
def started(arguments: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address."""
    with subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # Else a service that says much waits for its reader.
        reader = threading.Thread(target=process.stderr.read)
        try:
            watchdog = threading.Timer(PATIENCE, process.kill)
            watchdog.start()
            for line in process.stderr:
                serves = re.search(r"Loramill serves on (\S+), data in", line)
                if serves:
                    assert json.loads(line)["level"] == "info"
                    break
            else:
                raise AssertionError("the service ended before it served")
            watchdog.cancel()
            reader.start()
            yield process, serves.group(1)
        finally:
            process.kill()
            if reader.ident is not None:
                reader.join()


def test_it_serves_holds_its_data_and_stops_when_told(tmp_path: Path) -> None:
    with started(command(tmp_path, "--port", "0")) as (process, address):
        with grpc.insecure_channel(address) as channel:
            bases = BaseModelServiceStub(channel).ListBaseModels(v1.ListBaseModelsRequest(), timeout=PATIENCE)
            assert [base.name for base in bases.base_models] == ["baseModels/shapes"]
            jobs = TrainingServiceStub(channel).ListTrainingJobs(v1.ListTrainingJobsRequest(), timeout=PATIENCE)
            assert list(jobs.training_jobs) == []
        told = failed(command(tmp_path, "--port", "0"))
        assert "Another service works on the data folder" in told
        assert "--data" in told
        other = tmp_path / "other"
        other.mkdir()
        told = failed(command(other, "--port", address.rpartition(":")[2]))
        assert told.strip().splitlines()[-1].startswith(f"Port {address.rpartition(':')[2]} of 127.0.0.1 is in use")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_none_of_a_crowd_of_calls_is_lost(tmp_path: Path) -> None:
    """gRPC drops calls where more than 1,000 wait to be taken up, unless it is told otherwise."""
    with started(command(tmp_path, "--port", "0")) as (_, address), grpc.insecure_channel(address) as channel:
        nonsense = v1.GetTrainingJobRequest(name="nonsense")
        stub = TrainingServiceStub(channel)
        calls = [stub.GetTrainingJob.future(nonsense, timeout=PATIENCE / 2) for _ in range(2500)]
        assert {call.code() for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}


def test_callers_may_ask_whether_it_is_still_there(tmp_path: Path) -> None:
    """gRPC hangs up on whoever pings more than once in five minutes while nothing is said, unless it is told otherwise."""
    pinging = [("grpc.keepalive_time_ms", 1_100), ("grpc.http2.max_pings_without_data", 0)]
    with started(command(tmp_path, "--port", "0")) as (_, address), grpc.insecure_channel(address, pinging) as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=""), timeout=6)
        with pytest.raises(grpc.RpcError) as raised:
            for _ in watch:
                pass
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_when_it_stops_followers_are_told_and_do_not_hold_it_up(tmp_path: Path) -> None:
    settings = Settings(
        local=True,
        port=0,
        metrics_port=0,
        data=tmp_path / "data",
        builtin_shapes=write_base(tmp_path / "shapes"),
        stop_grace=PATIENCE,
    )
    executor = FakeExecutor()
    async with AsyncExitStack() as running, AsyncExitStack() as calling:
        platform = running.enter_context(local_platform(settings, executor))
        service = await running.enter_async_context(serving(settings, platform))
        api = await calling.enter_async_context(Api.open(service, executor, tmp_path))
        name = await api.job()
        trainer = await api.launched(name)
        executor.logs["local", trainer.job, 1] = b"one\n"
        watch = api.training.WatchTrainingJob(v1.WatchTrainingJobRequest(name=name))
        while (await watch.read()).training_job.state != v1.TRAINING_JOB_STATE_LAUNCHING:
            pass
        logs = api.training.StreamTrainingLogs(v1.StreamTrainingLogsRequest(name=name, follow=True))
        assert (await logs.read()).line == "one"
        leaving = asyncio.create_task(running.pop_all().aclose())
        for call in (watch, logs):
            answer = await asyncio.wait_for(error_of(call.read()), PATIENCE / 2)
            assert (answer.code, answer.reason) == (grpc.StatusCode.UNAVAILABLE, "STOPPING")
        await asyncio.wait_for(leaving, PATIENCE / 2)
    assert executor.observe("local", trainer.job, 1).alive


def test_a_metrics_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = failed([*command(tmp_path, "--port", "0"), "--metrics-port", str(port)])
    assert f"Port {port} of 127.0.0.1 is in use" in told
    assert "--metrics-port" in told


def test_flags_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAMILL_PORT", "5")
    monkeypatch.setenv("LORAMILL_LOCAL", "1")
    assert read_settings([]).port == 5
    settings = read_settings(["--port", "6", "--import-root", "/a", "--import-root", "/b", "--data", "d"])
    assert (settings.port, settings.import_root, settings.data) == (6, (Path("/a"), Path("/b")), Path("d"))


def test_what_is_wrong_with_the_settings_is_said_at_once() -> None:
    with pytest.raises(Unusable, match=r"--port .*is '99999'.*--jobs .*is '0'"):
        read_settings(["--local", "--port", "99999", "--jobs", "0"])
    with pytest.raises(Unusable, match="--local"):
        read_settings([])
    with pytest.raises(Unusable, match=r"--restored .* one line"):
        read_settings(["--local", "--restored", "Monday\nTuesday"])
