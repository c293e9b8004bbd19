"""The same service written straightforwardly: synchronous grpcio, boto3, and one read wherever something is to be known.

`python -m bench.scale.naive PORT THREADS`. It keeps the same record and gives the same promises, by the same pure functions
(validation, presets, what a caller sees); what differs is how it talks to callers and to the store.
"""

from __future__ import annotations

import hashlib
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import boto3
import grpc
from botocore.config import Config
from botocore.exceptions import ClientError
from google.protobuf import json_format
from google.protobuf.message import Message

from bench.scale.place import BUCKET
from loramill import v1
from loramill.v1 import training_service_pb2_grpc
from service import keys, presets
from service.compute_classes import LOCAL_MODE
from service.executors import Execution, ExecutionState
from service.facts import JobFacts, LaunchFacts
from service.job import is_terminal, training_job
from service.length import length_of
from service.times import to_timestamp, utc_now
from service.validation import violations

M = TypeVar("M", bound=Message)
TENANT = keys.TenantKeys("local")
_RUNNING = Execution(ExecutionState.RUNNING)


class Naive(training_service_pb2_grpc.TrainingServiceServicer):
    def __init__(self) -> None:
        config = Config(
            max_pool_connections=64,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        self.s3 = boto3.client("s3", config=config)

    def read(self, key: str, kind: type[M]) -> M | None:
        try:
            content = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        message = kind()
        json_format.Parse(content, message, ignore_unknown_fields=True)
        return message

    def put(self, key: str, message: Message | bytes) -> bool:
        body = message if isinstance(message, bytes) else json_format.MessageToJson(message, indent=None).encode()
        try:
            self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise
        return True

    def CreateTrainingJob(self, request: v1.CreateTrainingJobRequest, context: grpc.ServicerContext) -> v1.TrainingJob:
        key = TENANT.request(request.request_id)
        record = self.read(key, v1.CreateRecord)
        if record is None:
            record = self.made(request, context)
            self.put(keys.audit("local", keys.new_id(utc_now())), v1.AuditRecord(principal="loopback"))
            if not self.put(key, record):
                record = self.read(key, v1.CreateRecord)
        assert record is not None
        self.put(TENANT.job(record.job_id).record, record)
        self.put(TENANT.active(record.job_id), key.encode())
        return training_job(JobFacts(tenant="local", job=record.job_id, create=record), utc_now())

    def made(self, request: v1.CreateTrainingJobRequest, context: grpc.ServicerContext) -> v1.CreateRecord:
        base = self.read(keys.BaseKeys(request.spec.base_model.rpartition("/")[2]).record, v1.BaseModelRecord)
        dataset_keys = TENANT.dataset(request.spec.dataset.dataset.rpartition("/")[2])
        dataset = self.read(dataset_keys.record, v1.DatasetRecord)
        deleted = self.read(dataset_keys.tombstone, v1.Tombstone)
        manifest = self.read(dataset_keys.manifest, v1.FileManifest)
        if base is None or dataset is None or deleted is not None or manifest is None:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such base model or dataset")
        dataset.dataset.state = v1.DATASET_STATE_FINALIZED
        dataset.dataset.digest, dataset.dataset.file_count = manifest.digest, len(manifest.files)
        found = violations(request.spec, base.base_model, dataset.dataset, None, LOCAL_MODE)
        if found:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(violation.description for violation in found))
        resolved = presets.resolve(request.spec, base.base_model, secrets.randbelow(2**63), None, "local")
        now = utc_now()
        return v1.CreateRecord(
            schema_version=1,
            job_id=keys.new_id(now),
            sent_spec_sha256=hashlib.sha256(request.spec.SerializeToString(deterministic=True)).hexdigest(),
            spec=resolved,
            create_time=to_timestamp(now),
            base_model=base.base_model,
            dataset_digest=manifest.digest,
            length=length_of(resolved, [file.path for file in manifest.files]),
        )

    def facts(self, job: str) -> JobFacts | None:
        job_keys = TENANT.job(job)
        create = self.read(job_keys.record, v1.CreateRecord)
        if create is None:
            return None
        launches = []
        for found in self.listed(job_keys.launches_prefix):
            number = keys.number_of(found)
            run = job_keys.run(number)
            assignment = self.read(found, v1.Assignment)
            assert assignment is not None
            launches.append(
                LaunchFacts(
                    assignment=assignment,
                    claim=self.read(run.claim, v1.Claim),
                    status=self.read(run.status, v1.RunStatus),
                    end=self.read(run.end, v1.End),
                    execution=_RUNNING,
                )
            )
        return JobFacts(
            tenant="local",
            job=job,
            create=create,
            launches=tuple(launches),
            cancel=self.read(job_keys.cancel, v1.CancelIntent),
            outcome=self.read(job_keys.outcome, v1.Outcome),
            tombstone=self.read(job_keys.tombstone, v1.Tombstone),
        )

    def listed(self, prefix: str) -> Iterator[str]:
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield found["Key"]

    def ListTrainingJobs(
        self, request: v1.ListTrainingJobsRequest, context: grpc.ServicerContext
    ) -> v1.ListTrainingJobsResponse:
        """Every record behind the one that the page before has ended with is read, until enough are such as was asked for."""
        del context
        found: list[v1.TrainingJob] = []
        for job in self.jobs(request.page_token):
            facts = self.facts(job)
            if facts is None or facts.tombstone is not None:
                continue
            shown = training_job(facts, utc_now())
            if not request.states or shown.state in request.states:
                found.append(shown)
            if len(found) == request.page_size:
                return v1.ListTrainingJobsResponse(training_jobs=found, next_page_token=job)
        return v1.ListTrainingJobsResponse(training_jobs=found)

    def jobs(self, after: str) -> Iterator[str]:
        """Their ids, newest first."""
        start = f"{TENANT.job(after).root}~" if after else ""
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=TENANT.jobs_prefix, Delimiter="/", StartAfter=start
        )
        for page in pages:
            for found in page.get("CommonPrefixes", ()):
                yield keys.part_after(TENANT.jobs_prefix, found["Prefix"])

    def WatchTrainingJob(
        self, request: v1.WatchTrainingJobRequest, context: grpc.ServicerContext
    ) -> Iterator[v1.WatchTrainingJobResponse]:
        job, last = request.name.rpartition("/")[2], None
        while context.is_active():
            facts = self.facts(job)
            if facts is None:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such job")
            shown = training_job(facts, utc_now())
            if shown != last:
                last = shown
                yield v1.WatchTrainingJobResponse(training_job=shown)
            if is_terminal(shown.state):
                return
            time.sleep(0.5)


def main() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    server = grpc.server(ThreadPoolExecutor(int(sys.argv[2])), options=[("grpc.so_reuseport", 0)])
    naive = Naive()  # type: ignore[abstract]  # what it lacks is answered UNIMPLEMENTED
    training_service_pb2_grpc.add_TrainingServiceServicer_to_server(naive, server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    stopped.wait()
    server.stop(0)


if __name__ == "__main__":
    main()
