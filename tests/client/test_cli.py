from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from loramill import v1
from loramill.channel import ADDRESS_VARIABLE
from loramill.cli.adapter import Format
from loramill.cli.live import LineView, TerminalView, span
from loramill.cli.output import brief, printable, size_of
from loramill.errors import Unreachable
from loramill.scalars import enum_words
from tests.client.conftest import Loramill
from tests.client.fake_service import BREAK, HOLD, FakeService

QUEUED, RUNNING = v1.TRAINING_JOB_STATE_QUEUED, v1.TRAINING_JOB_STATE_RUNNING
SUCCEEDED, FAILED = v1.TRAINING_JOB_STATE_SUCCEEDED, v1.TRAINING_JOB_STATE_FAILED


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "spec.yaml"
    path.write_text("base_model: shapes\ndataset: abc\nadapter: {rank: 8}\n")
    return path


def job_at(state: v1.TrainingJobState.ValueType, step: int = 0, message: str = "", phase=v1.PHASE_TRAINING):
    progress = v1.Progress(phase=phase, step=step, steps=100, images_per_second=12.5)
    if step:
        progress.loss = 0.125
        progress.remaining.seconds = 65
    return v1.TrainingJob(name="trainingJobs/job1", state=state, progress=progress, state_message=message)


def script(end: v1.TrainingJobState.ValueType, message: str) -> list:
    last = job_at(end, 100, message, v1.PHASE_ENDED)
    last.adapters.append("adapters/job1-final")
    return [job_at(QUEUED), job_at(RUNNING, 1), job_at(RUNNING, 2), job_at(RUNNING, 50), last]


def test_submit_follows_until_success(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    service.state.scripts = [script(SUCCEEDED, "The adapter is saved.")]
    result = loramill("job", "submit", str(spec_file), "--set", "adapter.rank=32", "--set", "optimization.steps=100")
    assert result.code == 0
    assert service.state.requests[0].spec.adapter.rank == 32
    assert result.err == "Warning: this is only a test\n"
    assert result.out.splitlines() == [
        "Job job1 is accepted.",
        "job1 queued: step 0/100  12.5 images/s",
        "job1 running training: step 1/100  loss 0.1250  12.5 images/s  ETA 1:05",
        "job1 running training: step 50/100  loss 0.1250  12.5 images/s  ETA 1:05",
        "job1 succeeded: step 100/100  loss 0.1250  12.5 images/s",
        "Job job1 succeeded: The adapter is saved.",
        "Get the adapter with: loramill adapter download job1-final --format all",
    ]


def begun(job: v1.TrainingJob, *seconds: float) -> v1.TrainingJob:
    """The job with a launch more, whose phases until the first step, from the first on, took so long."""
    spans = [v1.StartPhaseTime(phase=number) for number in (1, 4, 5, 6, 7, 8)[: len(seconds)]]
    for phase, each in zip(spans, seconds, strict=True):
        phase.duration.FromTimedelta(timedelta(seconds=each))
    job.launches.add(number=len(job.launches) + 1, start_phases=spans)
    return job


def test_what_the_time_to_the_first_step_went_to(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    working = begun(job_at(RUNNING, 1), 0.25, 9, 1, 2, 3, 0.5)
    later = begun(begun(job_at(SUCCEEDED, 100), 0.25, 9, 1, 2, 3, 0.5), 1, 8)
    service.state.scripts = [[begun(job_at(RUNNING), 0.25, 9), working, working, later]]
    submitted = loramill("job", "submit", str(spec_file))
    told = [line for line in submitted.out.splitlines() if "begun" in line]
    assert told == [
        "Training has begun after 15.8 s: queued 0.2 s, process 9.0 s, data 1.0 s, model 2.0 s, encoding 3.0 s, "
        "first step 0.5 s."
    ]
    service.state.jobs["trainingJobs/job1"].CopyFrom(later)
    shown = loramill("job", "get", "job1").out
    assert [line.split() for line in shown[shown.index("PHASE") :].splitlines()[:8]] == [
        ["PHASE", "LAUNCH", "1", "LAUNCH", "2"],
        ["queued", "0.2", "s", "1.0", "s"],
        ["process", "9.0", "s", "8.0", "s"],
        ["data", "1.0", "s"],
        ["model", "2.0", "s"],
        ["encoding", "3.0", "s"],
        ["first", "step", "0.5", "s"],
        ["in", "all", "15.8", "s", "9.0", "s"],
    ]


def test_failed_job_is_exit_code_1(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    service.state.scripts = [script(FAILED, "cat.png is truncated; replace it.")]
    result = loramill("job", "submit", str(spec_file))
    assert result.code == 1
    assert "Job job1 failed: cat.png is truncated; replace it." in result.out


def test_submit_for_programs(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    result = loramill("job", "submit", str(spec_file), "-o", "name")
    assert (result.code, result.out) == (0, "trainingJobs/job1\n")
    service.state.scripts = [script(SUCCEEDED, "Saved.")]
    result = loramill("job", "submit", str(spec_file), "-o", "json", "--watch")
    assert json.loads(result.out)["state"] == "TRAINING_JOB_STATE_SUCCEEDED"
    assert "job1 running" in result.err.replace("job2", "job1")


def test_submit_from_standard_input(loramill: Loramill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"base_model: shapes\ndataset: abc\n")))
    assert loramill("job", "submit", "-", "--no-watch").code == 0


def test_validate_only_prints_the_resolved_spec(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    result = loramill("job", "submit", str(spec_file), "--validate-only")
    assert result.code == 0
    assert yaml.safe_load(result.out) == {"base_model": "shapes", "dataset": {"dataset": "abc"}, "adapter": {"rank": 8}}
    assert not service.state.jobs


SPOT = v1.ComputePlan(
    compute_class="gpu-spot", gpus=1, gpu_memory_gib=24, spot=True, price_per_hour=0.4, currency="USD"
)


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (SPOT, "gpu-spot (1 GPU of 24 GiB, spot, 0.4 USD an hour)"),
        (v1.ComputePlan(compute_class="big", gpus=8, price_per_hour=30), "big (8 GPUs, 30 an hour)"),
        (v1.ComputePlan(compute_class="small"), "small (no GPU)"),
    ],
)
def test_the_plan_says_which_class_and_what_it_costs(
    service: FakeService, loramill: Loramill, spec_file: Path, plan: v1.ComputePlan, line: str
) -> None:
    service.state.compute = plan
    checked = loramill("job", "submit", str(spec_file), "--validate-only")
    assert f"The spec is valid. It runs on {line}. With every field filled in it is:\n" in checked.err
    assert f"Job job1 is accepted. It runs on {line}.\n" in loramill("job", "submit", str(spec_file), "--no-watch").out
    assert f"Runs on     {line}\n" in loramill("job", "get", "job1").out


def test_the_compute_classes_that_jobs_can_run_on(service: FakeService, loramill: Loramill) -> None:
    offer = v1.ComputeClass(name="gpu", description="one GPU", gpus=1, gpu_memory_gib=24, price_per_hour=1.2)
    service.state.compute_classes = [offer, v1.ComputeClass(name="spot", gpus=2, spot=True, currency="EUR")]
    head, *rows = loramill("compute", "list").out.splitlines()
    assert head.split() == ["CLASS", "GPUS", "SPOT", "PRICE", "DESCRIPTION"]
    assert [row.split("  ", 1)[0].rstrip() for row in rows] == ["gpu", "spot"]
    assert all(cell in rows[0] for cell in ("1 GPU of 24 GiB", "1.2 an hour", "one GPU"))
    assert loramill("compute", "list", "-o", "name").out == "gpu\nspot\n"


def test_operators_hold_jobs_back_and_let_them_begin(service: FakeService, loramill: Loramill) -> None:
    assert loramill("admission", "show").out.split() == ["waiting", "jobs", "begin"]
    assert "the store moves" in loramill("admission", "pause", "--reason", "the store moves").out
    loramill("admission", "close", "spot")
    loramill("admission", "close", "gpu")
    loramill("admission", "open", "spot")
    state = service.state.admission
    assert (state.paused, [*state.closed_compute_classes], state.reason) == (True, ["gpu"], "the store moves")
    assert "do not begin" in loramill("admission", "show").out
    assert loramill("admission", "resume").code == 0
    assert (service.state.admission.paused, service.state.admission.reason) == (False, "the store moves")
    loramill("admission", "open", "gpu")
    assert service.state.admission == v1.Admission(), "a reason for nothing is forgotten"


def test_operators_empty_classes_and_end_the_pause_after_a_restore(service: FakeService, loramill: Loramill) -> None:
    loramill("admission", "drain", "spot", "--reason", "new driver")
    assert [*service.state.admission.drained_compute_classes] == ["spot"]
    assert "drained classes  spot" in loramill("admission", "show").out
    service.state.admission.restored = service.state.admission.paused = True
    assert "the store was restored" in loramill("admission", "close", "gpu").out
    loramill("admission", "resume")
    loramill("admission", "open", "spot")
    assert service.state.admission == v1.Admission(closed_compute_classes=["gpu"], reason="new driver")


def test_operators_see_what_is_stuck_and_give_launches_up(service: FakeService, loramill: Loramill) -> None:
    assert "None." in loramill("operator", "stuck").err
    service.state.stuck = [
        v1.StuckJob(
            tenant="art",
            name=f"trainingJobs/{number}",
            state=v1.TRAINING_JOB_STATE_LAUNCHING,
            state_reason=v1.STATE_REASON_IMAGE_PULL,
            state_message="The image cannot be had.",
            remedy="Push the image.",
            launch=2,
            compute_class="gpu",
        )
        for number in range(3)
    ]
    head, *rows = loramill("operator", "stuck").out.splitlines()
    assert head.split() == ["JOB", "TENANT", "LAUNCH", "CLASS", "STATE", "SINCE", "WHY", "WHAT", "HELPS"]
    assert len(rows) == 3, "all pages"
    for cell in ("art", "2", "gpu", "LAUNCHING IMAGE_PULL", "The image cannot be had.", "Push the image."):
        assert cell in rows[0]
    assert json.loads(loramill("operator", "stuck", "-o", "json").out)[0]["remedy"] == "Push the image."
    service.state.jobs["trainingJobs/0"] = v1.TrainingJob(name="trainingJobs/0", state_message="Launch 3 follows.")
    told = loramill("operator", "give-up", "art", "0", "--launch", "2", "--reason", "the node is lost")
    assert "Launch 2 of trainingJobs/0 is given up. Launch 3 follows." in told.err
    asked = v1.GiveUpLaunchRequest(tenant="art", name="trainingJobs/0", launch=2, reason="the node is lost")
    assert service.state.requests[-1] == asked


def test_all_problems_of_a_spec_at_once(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    spec_file.write_text("base_model: shapes\nadaptor: {}\nadapter: {rank: x}\n")
    result = loramill("job", "submit", str(spec_file))
    assert result.code == 2
    assert result.err.splitlines() == [
        f"Error: {spec_file} cannot be used:",
        "  line 2: adaptor is not a field; the nearest is adapter",
        "  line 3: adapter.rank must be a whole number, not 'x'",
    ]
    assert not service.state.requests  # nothing was sent


def test_all_violations_at_once(service: FakeService, loramill: Loramill, spec_file: Path) -> None:
    service.state.violations = [
        ("spec.adapter.rank", "spec.adapter.rank is 0, but must be 1 to 1024; set it within."),
        ("spec.dataset.dataset", "spec.dataset.dataset is 'datasets/abc', which does not exist; create it."),
    ]
    result = loramill("job", "submit", str(spec_file))
    assert result.code == 2
    assert result.err.splitlines() == [
        "Error: The service refused the request:",
        "  adapter.rank is 0, but must be 1 to 1024; set it within.",
        "  dataset.dataset is 'datasets/abc', which does not exist; create it.",
    ]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_unreadable_spec(loramill: Loramill, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    result = loramill("job", "submit", str(path))
    assert result.code == 2
    assert "spec.yaml" in result.err
    assert "Traceback" not in result.err


def test_not_reachable(loramill: Loramill) -> None:
    result = loramill("job", "list", "--server", "127.0.0.1:1")
    assert result.code == 3
    assert result.err == (
        "Error: No Loramill service answers at 127.0.0.1:1. Start one on this machine with `python -m service --local`,"
        " or name another with --server or LORAMILL_SERVER.\n"
    )


def test_server_may_stand_first(service: FakeService, loramill: Loramill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE)
    service.add_job(RUNNING)
    assert loramill("--server", service.address, "job", "get", "job1").code == 0
    assert loramill("job", "list", "--server", "nonsense").code == 2


def test_lists_and_states(service: FakeService, loramill: Loramill) -> None:
    for number in range(5):
        service.add_job(RUNNING if number else FAILED, f"job{number}")
    table = loramill("job", "list")
    assert table.out.splitlines()[0].split() == ["ID", "KIND", "STATE", "STEP", "LOSS", "BASE", "AGE", "TITLE"]
    assert len(table.out.splitlines()) == 6
    assert loramill("job", "list", "--limit", "3", "-o", "name").out.split() == [
        f"trainingJobs/job{n}" for n in range(3)
    ]
    assert [job["name"] for job in json.loads(loramill("job", "list", "--state", "failed", "-o", "json").out)] == [
        "trainingJobs/job0"
    ]
    assert yaml.safe_load(loramill("job", "list", "-o", "yaml").out)[0]["state"] == "failed"
    wrong = loramill("job", "list", "--state", "faild")
    assert wrong.code == 2
    assert "(nearest is failed)" in " ".join(wrong.err.split())


@pytest.mark.parametrize("what", ["dataset", "job", "adapter", "base"])
def test_empty_lists(loramill: Loramill, what: str) -> None:
    result = loramill(what, "list")
    assert (result.code, result.out, result.err) == (0, "", "None.\n")
    assert loramill(what, "list", "-o", "json").out == "[]\n"


def test_missing_job(loramill: Loramill) -> None:
    result = loramill("job", "get", "none")
    assert result.code == 1
    assert result.err == "Error: trainingJobs/none does not exist; list what there is.\n"


def test_cancel_delete_logs_metrics(service: FakeService, loramill: Loramill) -> None:
    service.add_job(RUNNING)
    assert "cancelling" in loramill("job", "cancel", "job1").out
    assert loramill("job", "delete", "job1").err == "Error: trainingJobs/job1 still lives; cancel it first.\n"
    service.state.jobs["trainingJobs/job1"].state = SUCCEEDED
    service.state.logs = ['{"event": "step"}', "a\x1b[31mred"]
    assert loramill("job", "logs", "job1", "-f").out.splitlines() == ['{"event": "step"}', "a�[31mred"]
    service.state.metrics = [v1.TrainingMetric(step=step, loss=0.5, learning_rate=1e-4) for step in range(1, 5)]
    assert len(loramill("job", "metrics", "job1").out.splitlines()) == 5
    assert [metric["step"] for metric in json.loads(loramill("job", "metrics", "job1", "-o", "json").out)] == [
        1,
        2,
        3,
        4,
    ]
    assert loramill("job", "delete", "trainingJobs/job1", "--adapters").code == 0
    assert service.state.requests[-1].delete_adapters


def test_dataset_report(loramill: Loramill, pictures: Path, tmp_path: Path) -> None:
    loramill("dataset", "create", str(pictures))
    text = loramill("dataset", "report", "set1")
    assert text.out == "10 pictures\n"
    assert "Made by j, launch 2" in text.err
    assert json.loads(loramill("dataset", "report", "set1", "--format", "json").out) == {"suggestions": []}
    out = tmp_path / "report.html"
    assert f"Saved {out}" in loramill("dataset", "report", "set1", "--format", "html", "--out", str(out)).err
    assert out.read_bytes() == b"10 pictures\n"
    assert loramill("dataset", "report", "none").code == 1


def test_dataset_create(loramill: Loramill, pictures: Path) -> None:
    result = loramill("dataset", "create", str(pictures))
    assert result.code == 0
    assert "cats" in result.out  # the folder's name is the title
    assert result.err.splitlines() == [
        "Read as kohya folders: 3 pictures, 2 captions in 2 subsets.",
        "  the rest: 2 pictures, 1 repeat, 1 of them without a caption",
        "  10_cat/: 1 picture, 10 repeats",
        "Ignored (hidden): .DS_Store, .thumbnails.",
        "Ignored (neither a picture nor a caption): notes.docx, notes.json.",
        "Ignored (a symbolic link): link.png.",
        "Note: 2 pictures are in no folder named like 10_tag, and are read once an epoch: a.png, b.JPG.",
        "Note: 1 picture has no caption, for which the spec must give one: b.JPG.",
    ]
    assert loramill("dataset", "create", str(pictures), "--name", "x", "-o", "name").out == "datasets/set2\n"
    assert loramill("dataset", "get", "set1", "-o", "yaml").code == 0
    assert loramill("dataset", "delete", "set1").code == 0
    assert loramill("dataset", "list", "-o", "name").out == "datasets/set2\n"
    missing = loramill("dataset", "create", str(pictures / "none"))
    assert missing.code == 2
    assert "does not exist" in missing.err


def test_adapter_commands(service: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    contents = {
        "a.safetensors": (v1.ADAPTER_FORMAT_KOHYA, b"kohya"),
        "a.diffusers.safetensors": (v1.ADAPTER_FORMAT_DIFFUSERS, b"diffusers"),
        "contact-sheet.png": (v1.ADAPTER_FORMAT_CONTACT_SHEET, b"png"),
        "report.html": (v1.ADAPTER_FORMAT_REPORT, b"html"),
    }
    service.add_adapter("job1-final", contents)
    folder = tmp_path / "out"
    result = loramill("adapter", "download", "job1-final", "-o", str(folder), "--format", "all")
    assert result.out.split() == [str(folder / name) for name in contents]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: content for name, (_, content) in contents.items()
    }
    one = loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--format", "contact-sheet")
    assert one.out == f"{tmp_path}/contact-sheet.png\n"
    (tmp_path / "report.html").write_text("mine")
    kept = loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--format", "report")
    assert kept.code == 1
    assert loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--format", "report", "--force").code == 0
    assert "contact-sheet.png" in loramill("adapter", "get", "job1-final").out
    assert "lora" in loramill("adapter", "list", "--job", "job1").out
    assert loramill("adapter", "delete", "job1-final").code == 0
    assert not service.state.adapters


def test_files_of_one_format_are_told_apart_by_rank_and_name(
    service: FakeService, loramill: Loramill, tmp_path: Path
) -> None:
    contents = {
        "a.safetensors": (v1.ADAPTER_FORMAT_KOHYA, b"whole"),
        "a.rank-004.safetensors": (v1.ADAPTER_FORMAT_TRUNCATED, b"four"),
        "a.rank-008.safetensors": (v1.ADAPTER_FORMAT_TRUNCATED, b"eight"),
        "a.lora.safetensors": (v1.ADAPTER_FORMAT_CONVERTED, b"plain"),
    }
    adapter = service.add_adapter("job1-final", contents)
    adapter.files[1].rank, adapter.files[2].rank = 4, 8
    adapter.files[3].rank, adapter.files[3].relative_error = 64, 0.0321
    truncated = loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--format", "truncated")
    assert truncated.out.split() == [f"{tmp_path}/a.rank-004.safetensors", f"{tmp_path}/a.rank-008.safetensors"]
    one = loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--file", "a.lora.safetensors")
    assert (one.out, (tmp_path / "a.lora.safetensors").read_bytes()) == (f"{tmp_path}/a.lora.safetensors\n", b"plain")
    shown = loramill("adapter", "get", "job1-final").out
    assert "a.rank-008.safetensors  5 B  truncated, rank 8\n" in shown
    assert "a.lora.safetensors  5 B  converted, rank 64, relative error 0.0321\n" in shown
    none = loramill("adapter", "download", "job1-final", "-o", str(tmp_path), "--format", "peft")
    assert (none.code, "no file of format peft; it has converted, kohya, truncated." in none.err) == (1, True)
    both = loramill("adapter", "download", "job1-final", "--file", "a.lora.safetensors", "--format", "all")
    assert both.code == 2


def test_an_adapter_is_uploaded(service: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    file = tmp_path / "my style (v2).safetensors"
    file.write_bytes(b"x" * 3_000_000)
    result = loramill("adapter", "upload", str(file))
    assert result.code == 0
    assert "Type     lokr, full matrices\n" in result.out
    assert "my_style_v2_.safetensors  3.0 MB  kohya\n" in result.out
    assert service.state.adapters["adapters/up1-upload"][1] == {"my_style_v2_.safetensors": file.read_bytes()}
    assert loramill("adapter", "list").out.splitlines()[1].split() == ["up1-upload", "lokr", "full"]
    missing = loramill("adapter", "upload", str(tmp_path / "none.safetensors"))
    assert (missing.code, missing.err) == (
        2,
        f"Error: {tmp_path}/none.safetensors does not exist; give a .safetensors file.\n",
    )


def test_a_promoted_adapter_is_what_a_job_gives(service: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    for name in ("job1-000500", "job1-final"):
        service.add_adapter(name, {f"{name}.safetensors": (v1.ADAPTER_FORMAT_KOHYA, name.encode())})
    none = loramill("adapter", "download", "job1", "-o", str(tmp_path))
    assert none.code == 1
    assert "no final adapter yet" in none.err
    assert "yes, of its job" in loramill("adapter", "promote", "job1-000500").out
    got = loramill("adapter", "download", "job1", "-o", str(tmp_path))
    assert got.code == 0
    assert (tmp_path / "job1-000500.safetensors").read_bytes() == b"job1-000500"


def test_an_adapter_that_its_job_gave_up_is_told(service: FakeService, loramill: Loramill) -> None:
    for name in ("job1-000500", "job1-000500-g1"):
        service.add_adapter(name, {"a.safetensors": (v1.ADAPTER_FORMAT_KOHYA, b"kohya")})
    service.state.adapters["adapters/job1-000500"][0].abandoned = True
    _, given_up, again = loramill("adapter", "list").out.splitlines()
    assert ("(abandoned)" in given_up, "(abandoned)" in again) == (True, False)
    assert "training diverged behind it" in loramill("adapter", "get", "job1-000500").out
    assert "abandoned" not in loramill("adapter", "get", "job1-000500-g1").out


def test_damaged_download(service: FakeService, loramill: Loramill, tmp_path: Path) -> None:
    service.add_adapter("job1-final", {"a.safetensors": (v1.ADAPTER_FORMAT_KOHYA, b"kohya")})
    service.state.damage = True
    result = loramill("adapter", "download", "job1-final", "-o", str(tmp_path / "out"))
    assert result.code == 1
    assert "arrived damaged" in result.err
    assert list((tmp_path / "out").iterdir()) == []


def test_base_commands(loramill: Loramill) -> None:
    assert loramill("base", "import", "mine", "file:///models/mine", "--license", "MIT").code == 0
    assert "sd15" in loramill("base", "list").out
    assert "file:///models/mine" in loramill("base", "get", "mine").out


def test_base_import_follows_what_takes_long(service: FakeService, loramill: Loramill) -> None:
    running, done, failed = v1.BaseModelImportState.values()[1:]
    service.state.import_states = [running, running, done]
    result = loramill("base", "import", "big", "hf://art/base", "--vae", "hf://art/vae", "--variant", "fp16")
    assert (result.code, service.state.import_states) == (0, [])
    assert "waiting\nfetching\n" in result.err
    assert "hf://art/vae" in result.out
    service.state.import_states = [running, failed]
    service.state.import_problems = [v1.BaseModelImportProblem(reason="UNSUITABLE_BASE", description="No VAE in it.")]
    result = loramill("base", "import", "bad", "hf://art/base")
    assert (result.code, "No VAE in it." in result.out) == (1, True)
    service.state.import_states = [running]
    result = loramill("base", "import", "later", "hf://art/base", "--no-wait")
    assert (result.code, "loramill base get later" in result.err) == (0, True)


def test_a_caption_is_shown_token_by_token(loramill: Loramill) -> None:
    loramill("base", "import", "mine", "file:///models/mine")
    table = loramill("inspect", "tokens", "a red star", "--base", "mine")
    assert table.out.splitlines() == [
        "text_encoder: 3 tokens in 1 chunk of 75",
        "#   ID   PIECE      TEXT   CHUNK",
        "1   0    a</w>      a      1",
        "2   1    red</w>    red    1",
        "3   2    star</w>   star   1",
    ]
    cut = loramill("inspect", "tokens", "a " * 80, "--base", "mine").out
    assert "80 tokens in 1 chunk of 75; the last 5 are beyond 75 and cut off" in cut
    assert cut.splitlines()[-1].endswith("cut off")
    (encoder,) = json.loads(loramill("inspect", "tokens", "a star", "--base", "mine", "-o", "json").out)
    assert encoder["tokens"][1] == {"id": 1, "piece": "star</w>", "text": "star", "chunk": 1}
    assert loramill("inspect", "tokens", "", "--base", "absent").code == 1


def test_words_of_options_are_those_of_the_contract() -> None:
    assert [word.replace("_", "-") for word in enum_words(v1.AdapterFormat.DESCRIPTOR)] == [
        format.value for format in Format if format is not Format.ALL
    ]
    source = Path(sys.modules["loramill.cli.job"].__file__ or "").read_text()
    assert f"Only these: {', '.join(enum_words(v1.TrainingJobState.DESCRIPTOR))}." in source


def test_an_error_of_our_own_is_a_sentence(loramill: Loramill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.client.Client.get_job", lambda *_: 1 / 0)
    result = loramill("job", "get", "x")
    assert result.code == 1
    assert result.err == (
        "Error in loramill itself: ZeroDivisionError: division by zero. LORAMILL_TRACEBACK=1 shows where.\n"
    )


def test_ctrl_c_leaves_the_job_and_says_how_to_find_it(service: FakeService, spec_file: Path) -> None:
    service.state.scripts = [[job_at(QUEUED), job_at(RUNNING, 1), HOLD]]
    command = [
        str(Path(sys.executable).parent / "loramill"),
        "job",
        "submit",
        str(spec_file),
        "--server",
        service.address,
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert service.state.watching.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Job job1 is accepted." in out
    assert f"the job goes on. Follow it again with:\n  loramill job watch job1 --server {service.address}" in err
    assert "Traceback" not in err
    assert service.state.jobs["trainingJobs/job1"].state == QUEUED  # nobody cancelled it


def test_help_is_quick_and_a_closed_pipe_is_quiet(service: FakeService) -> None:
    code = (
        "import sys; sys.argv = ['loramill', '--help']\n"
        "from loramill.cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "print(sorted({'grpc', 'yaml', 'google.protobuf', 'rich'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    service.state.logs = ["a line"] * 50_000
    command = f"'{Path(sys.executable).parent}/loramill' job logs x | head -1"
    environment = {**os.environ, ADDRESS_VARIABLE: service.address}
    piped = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert (piped.stdout, piped.stderr) == ("a line\n", "")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_view_shows_bar_numbers_and_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    screen = _Terminal()
    with TerminalView(screen) as view:
        view.show(job_at(QUEUED, message="1 job is before it."))
        view.lost(Unreachable("gone"))
        view.show(job_at(RUNNING, 50, "[bold]Training.\x1b[2J"))
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    assert "running training" in text
    assert "step 50/100  loss 0.1250  12.5 images/s  ETA 1:05" in text
    assert "1 job is before it." in text
    assert "The connection to the service was lost" in text
    assert "[bold]Training.�[2J" in text


def test_line_view_says_little_of_a_long_training() -> None:
    out = io.StringIO()
    with LineView(out) as view:
        for step in range(1, 101):
            view.show(job_at(RUNNING, step))
    assert len(out.getvalue().splitlines()) == 21


def test_watch_survives_a_lost_connection(
    service: FakeService, loramill: Loramill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loramill.watch.Patience.waits", lambda _: iter([0.0] * 5))
    service.add_job(RUNNING)
    service.state.scripts = [[job_at(RUNNING, 1), BREAK], [job_at(RUNNING, 1)], [job_at(SUCCEEDED, 100, "Saved.")]]
    result = loramill("job", "watch", "job1")
    assert result.code == 0
    assert [line.split(":")[0] for line in result.out.splitlines()] == [
        "job1 running training",
        "The connection to the service was lost and is being made again; the job does not depend on it.",
        "job1 running training",
        "The connection to the service was lost and is being made again; the job does not depend on it.",
        "job1 succeeded",
        "Job job1 succeeded",
    ]


def test_line_view_tells_of_a_lost_connection_once() -> None:
    out = io.StringIO()
    with LineView(out) as view:
        for _ in range(3):
            view.lost(Unreachable("gone"))
    assert len(out.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65, "1:05"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_span(seconds: int, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_400_000, "3.4 MB"), (10**16, "10000.0 TB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size_of(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (172800, "2d")])
def test_brief(seconds: int, text: str) -> None:
    from datetime import timedelta

    assert brief(timedelta(seconds=seconds)) == text


def test_printable() -> None:
    assert printable("ä\t猫\x1b[2J\x00\u202e") == "ä\t猫�[2J��"
