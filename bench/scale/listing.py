"""A caller that lists jobs: all of them, and the first page of those that have failed."""

from __future__ import annotations

import time
from typing import NamedTuple

import grpc

from bench.scale.place import at_rest, usage_of
from loramill import v1
from loramill.client import PAGE_SIZE
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub

FIRST_PAGE = 50
"""What a caller gets who asks for no size."""
_LARGEST_ANSWER = 64 << 20


class Listed(NamedTuple):
    """What a listing took."""

    page_seconds: float
    """The first page of those that have failed."""
    jobs: int
    """How many of all came before the time was over."""
    seconds: float
    cpu_s: float
    """Of the service, for these."""
    grown: int
    """Bytes that the service's memory has grown by, over both."""

    @property
    def each_s(self) -> float:
        return self.seconds / self.jobs

    @property
    def each_cpu_s(self) -> float:
        return self.cpu_s / self.jobs

    def whole(self, count: int) -> str:
        """The time that all take, where they did not all come as far as the rest is like what came."""
        if self.jobs >= count:
            return f"{self.seconds:.1f} s"
        return f"about {self.each_s * count:.0f} s ({self.jobs} in {self.seconds:.1f} s)"


def listed(port: int, pid: int, most_seconds: float) -> Listed:
    """First the filtered page, of a service that has read no job yet; then all, until a page ends after the time is over."""
    before = at_rest(pid)
    with grpc.insecure_channel(
        f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", _LARGEST_ANSWER)]
    ) as channel:
        stub = TrainingServiceStub(channel)
        began = time.perf_counter()
        failed = stub.ListTrainingJobs(
            v1.ListTrainingJobsRequest(page_size=FIRST_PAGE, states=[v1.TRAINING_JOB_STATE_FAILED])
        )
        page_seconds = time.perf_counter() - began
        assert {job.state for job in failed.training_jobs} == {v1.TRAINING_JOB_STATE_FAILED}
        names: set[str] = set()
        began, cpu_s, token = time.perf_counter(), usage_of(pid).cpu_s, ""
        while True:
            page = stub.ListTrainingJobs(v1.ListTrainingJobsRequest(page_size=PAGE_SIZE, page_token=token))
            names.update(job.name for job in page.training_jobs)
            seconds, token = time.perf_counter() - began, page.next_page_token
            if not token or seconds >= most_seconds:
                break
    used = usage_of(pid)
    return Listed(page_seconds, len(names), seconds, used.cpu_s - cpu_s, used.memory - before.memory)
