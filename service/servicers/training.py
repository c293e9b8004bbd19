"""TrainingService: each RPC as one call of the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import stamina

from loramill import v1
from loramill.v1 import training_service_pb2_grpc
from service import compute_choice
from service.acceptance import Wanted
from service.admission_control import AdmissionControl
from service.caller import current_caller
from service.job_results import JobResults
from service.jobs import Jobs, StillEnding, job_id
from service.measurements import list_metrics
from service.operations import Operations
from service.previews import previews
from service.run_logs import RunLogs
from service.submission import Submission, Wake
from service.watch import Watches
from store.object_store import ObjectStore

_ENDING_SECONDS = 30.0
"""How long a deletion waits for a trainer that is on its way out."""


@dataclass(frozen=True)
class TrainingServicer(training_service_pb2_grpc.TrainingServiceServicer):
    store: ObjectStore
    submission: Submission
    jobs: Jobs
    results: JobResults
    watches: Watches
    logs: RunLogs
    wake: Wake
    control: AdmissionControl
    operations: Operations

    async def CreateTrainingJob(self, request: v1.CreateTrainingJobRequest, _context: object) -> v1.TrainingJob:
        wanted = Wanted(v1.JOB_KIND_TRAINING, request.spec, request.request_id)
        return await self.submission.take(current_caller(), wanted, validate_only=request.validate_only)

    async def AnalyzeConcept(self, request: v1.AnalyzeConceptRequest, _context: object) -> v1.TrainingJob:
        wanted = Wanted(v1.JOB_KIND_CONCEPT_ANALYSIS, request.spec, request.request_id)
        return await self.submission.take(current_caller(), wanted, validate_only=request.validate_only)

    async def GetTrainingJob(self, request: v1.GetTrainingJobRequest, _context: object) -> v1.TrainingJob:
        return await asyncio.to_thread(self.jobs.get, current_caller().tenant, job_id(request.name))

    async def ListTrainingJobs(
        self, request: v1.ListTrainingJobsRequest, _context: object
    ) -> v1.ListTrainingJobsResponse:
        return await asyncio.to_thread(self.jobs.page, current_caller().tenant, request)

    async def WatchTrainingJob(
        self, request: v1.WatchTrainingJobRequest, _context: object
    ) -> AsyncIterator[v1.WatchTrainingJobResponse]:
        async with aclosing(self.watches.watch(current_caller().tenant, job_id(request.name))) as states:
            async for job in states:
                yield v1.WatchTrainingJobResponse(training_job=job)

    async def CancelTrainingJob(self, request: v1.CancelTrainingJobRequest, _context: object) -> v1.TrainingJob:
        caller, job = current_caller(), job_id(request.name)
        cancelled = await asyncio.to_thread(self.jobs.cancel, caller, job)
        self.wake(caller.tenant, job)
        return cancelled

    async def DeleteTrainingJob(
        self, request: v1.DeleteTrainingJobRequest, _context: object
    ) -> v1.DeleteTrainingJobResponse:
        caller, job = current_caller(), job_id(request.name)
        async for attempt in stamina.retry_context(
            on=StillEnding, attempts=None, timeout=_ENDING_SECONDS, wait_max=0.5
        ):
            with attempt:
                await asyncio.to_thread(self.jobs.delete, caller, job, request.delete_adapters)
        return v1.DeleteTrainingJobResponse()

    async def DownloadResult(
        self, request: v1.DownloadResultRequest, _context: object
    ) -> AsyncIterator[v1.DownloadResultResponse]:
        stored = await asyncio.to_thread(self.results.file, current_caller().tenant, request)
        yield v1.DownloadResultResponse(file=stored.file)
        pieces = self.results.pieces(stored)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield v1.DownloadResultResponse(data=piece)

    async def ListTrainingMetrics(
        self, request: v1.ListTrainingMetricsRequest, _context: object
    ) -> v1.ListTrainingMetricsResponse:
        facts = await asyncio.to_thread(self.jobs.facts, current_caller().tenant, job_id(request.name))
        return await asyncio.to_thread(list_metrics, self.store, facts, request)

    async def GetTrainingPreviews(
        self, request: v1.GetTrainingPreviewsRequest, _context: object
    ) -> AsyncIterator[v1.GetTrainingPreviewsResponse]:
        facts = await asyncio.to_thread(self.jobs.facts, current_caller().tenant, job_id(request.name))
        messages = previews(self.store, facts, request)
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            yield message

    async def StreamTrainingLogs(
        self, request: v1.StreamTrainingLogsRequest, _context: object
    ) -> AsyncIterator[v1.StreamTrainingLogsResponse]:
        lines = self.logs.stream(current_caller().tenant, job_id(request.name), request.launch, request.follow)
        async with aclosing(lines):
            async for line in lines:
                yield v1.StreamTrainingLogsResponse(line=line)

    async def ListComputeClasses(
        self, _request: v1.ListComputeClassesRequest, _context: object
    ) -> v1.ListComputeClassesResponse:
        return v1.ListComputeClassesResponse(compute_classes=compute_choice.offers(self.submission.acceptance.classes))

    async def GetAdmission(self, request: v1.GetAdmissionRequest, _context: object) -> v1.Admission:
        del request
        return await asyncio.to_thread(self.control.refresh)

    async def SetAdmission(self, request: v1.SetAdmissionRequest, _context: object) -> v1.Admission:
        return await asyncio.to_thread(self.control.set, current_caller(), request.admission)

    async def ListStuckJobs(self, request: v1.ListStuckJobsRequest, _context: object) -> v1.ListStuckJobsResponse:
        return await asyncio.to_thread(self.operations.stuck, request)

    async def GiveUpLaunch(self, request: v1.GiveUpLaunchRequest, _context: object) -> v1.TrainingJob:
        caller = current_caller()
        job = await asyncio.to_thread(self.operations.give_up, caller, request)
        self.wake(request.tenant, job_id(request.name))
        return job
