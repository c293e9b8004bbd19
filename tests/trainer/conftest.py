from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # Imported where they are used: the tests in the folders below need no torch.
    from pathlib import Path

    import numpy as np

    from tests.trainer.jobs import Job, Jobs


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random base model of SD1.5's layout."""
    from tests.trainer.tiny_base import make_tiny_base

    return make_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Jobs:
    """Makes jobs on `tiny_base` and four pictures, all in one store."""
    from tests.trainer.assignments import Place
    from tests.trainer.jobs import Jobs, small_dataset

    place = Place(tmp_path_factory.mktemp("jobs"))
    place.put_base("shapes", tiny_base)
    place.put_dataset("d", small_dataset())
    return Jobs(place)


@pytest.fixture(scope="session")
def finished(jobs: Jobs) -> Job:
    """A job that trained UNet and text encoder to the end, uninterrupted: numbered adapters and previews on the way."""
    job = jobs.new(
        "finished",
        {
            "adapter": {"targets": "ADAPTER_TARGETS_ALL", "conv_rank": 2, "conv_alpha": 3},
            "unet": {"learning_rate": 1e-2},
            "text_encoder": {"train": True, "learning_rate": 1e-2},
            "previews": {
                "every_steps": 4,
                "prompts": [{"prompt": "a red [tag]"}, {"prompt": "a blue star", "seed": 5}],
            },
            "outputs": {"save_every": 4},
        },
    )
    assert job.run() == 0
    return job


@pytest.fixture
def drawn_by_trainer(monkeypatch: pytest.MonkeyPatch) -> dict[int, np.ndarray]:
    """The floats behind the trainer's previews, by step."""
    from tests.trainer.jobs import keep_what_is_drawn

    return keep_what_is_drawn(monkeypatch)
