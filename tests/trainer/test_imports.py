"""A job whose pictures and captions were encoded before trains without the libraries of models, whose import takes seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

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
