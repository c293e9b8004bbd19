"""What is saved where there is less than usual to save."""

from __future__ import annotations

from loramill import v1
from tests.trainer.jobs import Jobs


def test_a_job_without_prompts_saves_adapters_without_pictures(jobs: Jobs) -> None:
    change = {
        "concept": {"activation_tag": ""},
        "optimization": {"steps": 2},
        "previews": {"prompts": [], "every_steps": 1},
        "outputs": {"save_every": 1, "name": "my.adapter_1"},
    }
    job = jobs.new("wordless", change)
    assert job.run() == 0
    assert job.adapters() == ["000001", "final"]
    weights = [v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS, v1.ADAPTER_FORMAT_PEFT]
    assert [file.format for file in job.adapter("000001").files] == [*weights, v1.ADAPTER_FORMAT_MODEL_CARD]
    assert [file.format for file in job.adapter().files] == [
        *weights,
        v1.ADAPTER_FORMAT_MODEL_CARD,
        v1.ADAPTER_FORMAT_REPORT,
    ]
    assert job.adapter().files[0].file_name == "my.adapter_1.safetensors"
    assert not list(job.run_folder.glob("previews/*"))
