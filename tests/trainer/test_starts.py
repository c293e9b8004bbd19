"""What a job's first step waits for, and what not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from loramill import v1
from store import open_store
from store.records import read_record
from tests.trainer.jobs import SETTINGS, Jobs

SPEC: dict[str, object] = {
    "concept": {"activation_tag": ""},
    "optimization": {"steps": 2, "batch_size": 1},
    "previews": {"prompts": []},
}
HEAVY = ("diffusers", "transformers", "peft", "accelerate")
RUN = """
import json, sys
from trainer.__main__ import main
code = main([sys.argv[1]])
print(json.dumps({"code": code, "modules": sorted(sys.modules)}))
"""


def test_a_job_on_encoded_data_imports_no_library_of_models(jobs: Jobs) -> None:
    """Their import takes seconds."""
    assert jobs.new("encodes", SPEC).run() == 0
    done = subprocess.run(
        [sys.executable, "-c", RUN, jobs.new("finds it encoded", SPEC).uri],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **SETTINGS, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["code"] == 0
    assert not [name for name in HEAVY if name in found["modules"]]
    assert "torch" in found["modules"]


def test_the_data_is_looked_at_behind_the_first_step(jobs: Jobs) -> None:
    job = jobs.new("looks later", {"optimization": {"steps": 1}, "previews": {"inference_steps": 1}})
    assert job.run() == 0
    lines = [json.loads(line) for line in job.log().splitlines()]
    at = {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in lines}
    status = read_record(open_store(job.assignment.run_uri), "status.json", v1.RunStatus)
    assert status is not None
    first_step = status.first_step_time.ToDatetime(UTC)
    assert first_step <= at["checking the activation tag"] <= at["looking at the data"]
    assert (job.run_folder / "data-report/report.json").exists()
    assert "lumi" in job.file("report.html").read_text()
