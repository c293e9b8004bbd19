"""What `loramill job import` writes is a spec that the service accepts, once base and dataset are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from loramill import v1
from loramill.foreign.importing import import_configuration
from loramill.foreign.reading import read_configuration
from loramill.foreign.writing import spec_file
from loramill.spec import read_spec
from service import keys
from service.times import utc_now
from service.validation import violations

EXAMPLES = sorted((Path(__file__).parents[2] / "client/foreign_examples").iterdir())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_imported_spec_is_valid(path: Path) -> None:
    draft = import_configuration(*read_configuration(path.name, path.read_text()))
    dataset = keys.dataset_name(keys.new_id(utc_now()))
    sdxl = "sdxl" in path.name
    base = v1.BaseModel(
        name="baseModels/sd",
        family="sdxl" if sdxl else "sd15",
        resolution=1024 if sdxl else 512,
        prediction_type="v_prediction" if sdxl else "epsilon",
    )
    overrides = ["base_model=sd", f"dataset.dataset={dataset}"]
    if not draft.spec.concept.activation_tag and not draft.spec.concept.class_words:
        overrides.append("concept.activation_tag=sks")  # left to the user, and the file says so
    spec = read_spec(spec_file(draft, path.name), overrides)
    assert violations(spec, base, v1.Dataset(name=dataset, state=v1.DATASET_STATE_FINALIZED)) == []
