"""What CaptionDataset asks for, and everything that is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loramill import v1
from loramill.inputs.names import CAPTIONS, ending, is_litter, is_picture, stem
from service import keys
from service.compute_choice import violations_of_compute
from service.compute_classes import ComputeClasses
from service.errors import Violation
from service.families import CAPTIONER

_LONGEST_PROMPT = 1000
_THRESHOLD = 0.35
"""How sure a tagger must be, where nobody says."""
_DAY_SECONDS = 24 * 60 * 60


def spec_of(request: v1.CaptionDatasetRequest) -> v1.TrainingSpec:
    """What is recorded of a job that captions. The captioner stands in the base model's place, for it is kept and fetched so."""
    spec = v1.TrainingSpec(base_model=request.captioner, compute_class=request.compute_class)
    spec.dataset.dataset = request.name
    return spec


def violations_of_captioning(
    spec: v1.TrainingSpec,
    captioning: v1.CaptioningSpec,
    captioner: v1.BaseModel | None,
    dataset: v1.Dataset | None,
    paths: Sequence[str],
    classes: ComputeClasses,
) -> list[Violation]:
    """`captioner` and `dataset` are what the request names, None where there is no such thing; `paths` are the dataset's."""
    found = [*_of_dataset(spec.dataset.dataset, dataset, paths), *_of_captioner(spec.base_model, captioner)]
    found += _of_captioning(captioning, captioner)
    return [*found, *violations_of_compute(spec, classes, "")]


def resolved(
    spec: v1.TrainingSpec, captioning: v1.CaptioningSpec, captioner: v1.BaseModel, compute_class: str
) -> tuple[v1.TrainingSpec, v1.CaptioningSpec]:
    """Both with every field filled in that has a meaning."""
    whole, how = v1.TrainingSpec(), v1.CaptioningSpec()
    whole.CopyFrom(spec)
    how.CopyFrom(captioning)
    whole.compute_class = compute_class
    whole.deadline.FromSeconds(_DAY_SECONDS)
    if captioner.caption_form == "tags" and not how.HasField("threshold"):
        how.threshold = _THRESHOLD
    return whole, how


def without_caption(paths: Sequence[str]) -> list[str]:
    """The pictures that have no caption file beside them."""
    seen = [path for path in paths if not is_litter(path)]
    captioned = {stem(path) for path in seen if ending(path) in CAPTIONS}
    return [path for path in seen if is_picture(path) and stem(path) not in captioned]


def _of_dataset(name: str, dataset: v1.Dataset | None, paths: Sequence[str]) -> Iterator[Violation]:
    if keys.dataset_of_name(name) is None:
        yield Violation(
            "name", f"name is {name[:80]!r}, but must be datasets/<id>, as CreateDataset gave it.", "INVALID_NAME"
        )
    elif dataset is None:
        yield Violation(
            "name", f"name is {name!r}, which does not exist; list the datasets, or create it.", "RESOURCE_NOT_FOUND"
        )
    elif dataset.state != v1.DATASET_STATE_FINALIZED:
        yield Violation("name", f"name is {name!r}, which still takes files; finalize it first.", "NOT_FINALIZED")
    elif not any(is_picture(path) for path in paths):
        yield Violation("name", f"name is {name!r}, which has no picture; upload pictures.", "NO_PICTURE")
    elif not without_caption(paths):
        text = f"name is {name!r}, in which every picture has a caption; upload it without those that shall be written anew."
        yield Violation("name", text, "NOTHING_TO_DO")


def _of_captioner(name: str, captioner: v1.BaseModel | None) -> Iterator[Violation]:
    field = "captioner"
    if keys.base_of_name(name) is None:
        text = f"{field} is {name[:80]!r}, but must be baseModels/<id>, the id of a captioner that was imported."
        yield Violation(field, text, "INVALID_NAME")
    elif captioner is None:
        text = (
            f"{field} is {name!r}, which does not exist; list the base models, or have an operator import a captioner."
        )
        yield Violation(field, text, "RESOURCE_NOT_FOUND")
    elif captioner.family != CAPTIONER:
        text = (
            f"{field} is {name!r} of family {captioner.family}, which draws pictures and does not caption them; name a base "
            f"model of family {CAPTIONER}."
        )
        yield Violation(field, text, "UNSUITABLE_BASE")


def _of_captioning(captioning: v1.CaptioningSpec, captioner: v1.BaseModel | None) -> Iterator[Violation]:
    form = captioner.caption_form if captioner is not None else ""
    if len(captioning.prompt) > _LONGEST_PROMPT:
        text = f"captioning.prompt has {len(captioning.prompt)} characters, but must have at most {_LONGEST_PROMPT}; shorten it."
        yield Violation("captioning.prompt", text)
    if captioning.prompt and form == "tags":
        text = "captioning.prompt is set, but the captioner is one that tags, which takes none; leave it out."
        yield Violation("captioning.prompt", text, "CONFLICT")
    if not 0 <= captioning.threshold <= 1:
        text = f"captioning.threshold is {captioning.threshold:g}, but must be 0 to 1; 0.35 is usual."
        yield Violation("captioning.threshold", text)
    if captioning.HasField("threshold") and form == "sentences":
        text = (
            "captioning.threshold is set, but the captioner is one that writes sentences, which has none; leave it out."
        )
        yield Violation("captioning.threshold", text, "CONFLICT")
