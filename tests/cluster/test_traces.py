"""One trace from a call of the service to the first step of a trainer, all in their own pods, as the chart sets it up."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from deploy.cluster.network import MAIN_ADDRESS
from loramill import v1
from loramill.v1.training_service_pb2_grpc import TrainingServiceStub
from tests.cluster.installed import Installed, eventually
from tests.cluster.released import TARGET, Released, released
from tests.cluster.training import draw_pictures, finished, job_id, job_spec
from tests.end_to_end.collector import collector

pytestmark = pytest.mark.disturbing
"""One release at a time has the address."""

TRACE, CALLER = "5" * 32, "7" * 16
SERVICE, TRAINER = "loramill-service", "loramill-trainer"


def test_one_trace_leads_from_a_call_through_the_launch_to_a_trainers_first_step(
    installed: Installed, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with (
        collector(MAIN_ADDRESS) as spans,  # where pods find it
        released(installed, tmp_path, traces={"endpoint": spans.address, "sampled": 1.0, "to": []}) as release,
        release.client() as client,
    ):
        job = create_job(release, job_spec(client.upload_dataset(draw_pictures(pictures)).name, steps=4))
        assert finished(client, job.name).state == v1.TRAINING_JOB_STATE_SUCCEEDED
        # A trainer sends its last ones before it ends; the service sends what has come together every few seconds.
        expected = {(SERVICE, "launch"), (TRAINER, "training"), (TRAINER, "begin run")}
        eventually("the last spans", lambda: expected <= spans.of_trace(TRACE).keys())
    found = spans.of_trace(TRACE)
    call = found[SERVICE, "loramill.v1.TrainingService/CreateTrainingJob"]
    assert call.parent_span_id.hex() == CALLER
    launch, begun = found[SERVICE, "launch"], found[TRAINER, "begin run"]
    assert launch.parent_span_id == call.span_id
    assert begun.parent_span_id == launch.span_id
    for span in (launch, begun):
        assert {about.value.string_value for about in span.attributes} >= {job_id(job)}
    phases = [found[TRAINER, part] for part in ("claim", "start", "loading model", "encoding", "training")]
    assert {phase.parent_span_id for phase in phases} == {begun.span_id}
    times = [call.start_time_unix_nano, *(phase.start_time_unix_nano for phase in phases), begun.end_time_unix_nano]
    assert times == sorted(times)


def create_job(release: Released, spec: v1.TrainingSpec) -> v1.TrainingJob:
    """As somebody asks for it who traces its own calls."""
    with grpc.secure_channel(TARGET, grpc.ssl_channel_credentials(release.ca.read_bytes())) as channel:
        metadata = (("authorization", f"Bearer {release.token()}"), ("traceparent", f"00-{TRACE}-{CALLER}-01"))
        job: v1.TrainingJob = TrainingServiceStub(channel).CreateTrainingJob(
            v1.CreateTrainingJobRequest(spec=spec), metadata=metadata
        )
        return job
