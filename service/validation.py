"""A spec, and what it names → everything that is wrong with it, at once. Pure.

Bounds of single fields stand in `service.bounds`, what the adapter's fields ask of each other in `service.adapter_validation`;
of dataset and captions in
`service.dataset_validation`; here is what the other fields ask of each other and of base model and dataset.
"""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from service import keys, presets
from service.adapter_validation import violations_of_adapter
from service.bounds import violations_of_bounds
from service.compute_choice import violations_of_compute
from service.compute_classes import LOCAL_MODE, ComputeClasses
from service.dataset_validation import name_of, violations_of_dataset
from service.errors import Violation
from service.families import CAPTIONER
from service.family_validation import violations_of_family
from service.fitting_validation import violations_of_fitting
from service.preset_table import FAMILIES
from service.text_validation import violations_of_text

_LONGEST_DEADLINE = 30 * presets.DAY_SECONDS
_LONGEST_REQUEST_ID = 200
_NOT_FROM_PURE_NOISE = (v1.PREVIEW_SAMPLER_HEUN, v1.PREVIEW_SAMPLER_DPM_PLUS_PLUS_2M_KARRAS)
"""Samplers whose sigmas would be infinite where the noise schedule ends in pure noise."""


def violations(
    spec: v1.TrainingSpec,
    base: v1.BaseModel | None,
    dataset: v1.Dataset | None,
    initial: v1.Adapter | None = None,
    classes: ComputeClasses = LOCAL_MODE,
    path: str = "spec",
    *,
    trains: bool = True,
) -> list[Violation]:
    """Everything that is wrong with the spec. `base`, `dataset` and `initial` (of `adapter.initial_adapter`) are what it names,
    None where there is no such thing; `classes` are those that it may run on; `trains` is whether the job trains by it."""
    preset = presets.adapter_preset_for(base, spec, initial)
    return [
        *_of_base(spec, base, path),
        *_of_dataset(spec, dataset, path),
        *violations_of_bounds(spec, path),
        *_of_bucket_step(spec, base, path),
        *violations_of_dataset(spec, path, trains=trains),
        *_of_concept(spec.concept, f"{path}.concept", has_others=bool(spec.concepts)),
        *(
            violation
            for index, concept in enumerate(spec.concepts[:32])
            for violation in _of_concept(concept, f"{path}.concepts[{index}]", has_others=True)
        ),
        *violations_of_text(spec, base, path),
        *violations_of_adapter(spec.adapter, preset, initial, f"{path}.adapter"),
        *_of_networks(spec, path),
        *(violations_of_family(spec, base, path) if base is not None else ()),
        *_of_length(spec, preset.steps, path),
        *violations_of_fitting(spec, initial, classes, path),
        *_of_previews(spec, base, path),
        *_of_running(spec, path),
        *violations_of_compute(spec, classes, path),
    ]


def violations_of_request_id(request_id: str) -> list[Violation]:
    if len(request_id) <= _LONGEST_REQUEST_ID:
        return []
    text = f"request_id has {len(request_id)} characters, but must have at most {_LONGEST_REQUEST_ID}; use a UUID."
    return [Violation("request_id", text)]


def _of_base(spec: v1.TrainingSpec, base: v1.BaseModel | None, path: str) -> Iterator[Violation]:
    field, name = f"{path}.base_model", spec.base_model
    if not name:
        yield Violation(
            field, f"{field} is required; name an imported base model, such as baseModels/shapes.", "REQUIRED"
        )
    elif keys.base_of_name(name) is None:
        text = f"{field} is {name[:80]!r}, but must be baseModels/<id>, the id of lower-case letters, digits and '-'."
        yield Violation(field, text, "INVALID_NAME")
    elif base is None:
        text = f"{field} is {name!r}, which does not exist; list the base models, or have an operator import it."
        yield Violation(field, text, "RESOURCE_NOT_FOUND")
    elif base.family == CAPTIONER:
        text = f"{field} is {name!r}, a model that captions pictures and cannot be trained on; choose a base model."
        yield Violation(field, text, "UNSUITABLE_BASE")
    elif base.family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        text = f"{field} is {name!r} of family {base.family!r}, which is not yet supported; choose a base of {known}."
        yield Violation(field, text, "NOT_SUPPORTED")


def _of_dataset(spec: v1.TrainingSpec, dataset: v1.Dataset | None, path: str) -> Iterator[Violation]:
    field, name = f"{path}.dataset.dataset", spec.dataset.dataset
    if not name:
        yield Violation(field, f"{field} is required; name a finalized dataset, datasets/<id>.", "REQUIRED")
    elif keys.dataset_of_name(name) is None:
        yield Violation(
            field, f"{field} is {name[:80]!r}, but must be datasets/<id>, as CreateDataset gave it.", "INVALID_NAME"
        )
    elif dataset is None:
        text = f"{field} is {name!r}, which does not exist; list the datasets, or create it."
        yield Violation(field, text, "RESOURCE_NOT_FOUND")
    elif dataset.state != v1.DATASET_STATE_FINALIZED:
        yield Violation(field, f"{field} is {name!r}, which still takes files; finalize it first.", "NOT_FINALIZED")


def _of_bucket_step(spec: v1.TrainingSpec, base: v1.BaseModel | None, path: str) -> Iterator[Violation]:
    own = presets.default_resolution(base) if base is not None else 0
    side = spec.dataset.resolution if spec.dataset.HasField("resolution") else own
    if side and spec.dataset.bucket_step > side:
        field = f"{path}.dataset.bucket_step"
        text = f"{field} is {spec.dataset.bucket_step}, but must be at most the resolution, {side} pixels; make it smaller."
        yield Violation(field, text)


def _of_concept(concept: v1.ConceptSpec, path: str, *, has_others: bool) -> Iterator[Violation]:
    kind = presets.concept_kind(concept)
    if kind == v1.CONCEPT_KIND_AUTO and not name_of(concept) and has_others:
        text = (
            f"{path} has neither activation_tag nor class_words, by which subsets name their concept where a job has several; "
            "give it one of them."
        )
        yield Violation(f"{path}.activation_tag", text, "REQUIRED")
    if kind == v1.CONCEPT_KIND_NEW and not concept.activation_tag:
        text = f"{path}.activation_tag is required for kind NEW; choose a word that calls the concept."
        yield Violation(f"{path}.activation_tag", text, "REQUIRED")
    if kind == v1.CONCEPT_KIND_MODIFIED and concept.activation_tag:
        text = (
            f"{path}.activation_tag is {concept.activation_tag[:75]!r}, but kind MODIFIED has none; "
            "leave it out, or set kind to NEW."
        )
        yield Violation(f"{path}.activation_tag", text, "CONFLICT")
    if kind == v1.CONCEPT_KIND_MODIFIED and not concept.class_words:
        text = f"{path}.class_words are required for kind MODIFIED; say what the base calls it, such as 'dog'."
        yield Violation(f"{path}.class_words", text, "REQUIRED")
    yield from _of_prior(concept, f"{path}.prior_preservation.captions")


def _of_prior(concept: v1.ConceptSpec, field: str) -> Iterator[Violation]:
    prior = concept.prior_preservation
    if prior.enabled and not prior.captions and not concept.class_words:
        text = f"{field} are required for prior preservation without class_words; list captions of things to keep."
        yield Violation(field, text, "REQUIRED")
    for index, caption in enumerate(prior.captions[:1000]):
        if not caption.strip():
            yield Violation(
                f"{field}[{index}]", f"{field}[{index}] is empty; write a caption, or remove it.", "REQUIRED"
            )


def _of_networks(spec: v1.TrainingSpec, path: str) -> Iterator[Violation]:
    unet_trained = spec.unet.train or not spec.unet.HasField("train")
    if not (unet_trained or spec.text_encoder.train or spec.text_encoder_2.train):
        text = f"{path}.unet.train is false and no text encoder is trained, so nothing is; set one to true."
        yield Violation(f"{path}.unet.train", text, "CONFLICT")


def _of_length(spec: v1.TrainingSpec, default_steps: int, path: str) -> Iterator[Violation]:
    optimization = spec.optimization
    if optimization.HasField("epochs"):
        return
    steps = optimization.steps if optimization.HasField("steps") else default_steps
    if optimization.warmup_steps > steps:
        field = f"{path}.optimization.warmup_steps"
        text = f"{field} is {optimization.warmup_steps}, but must be 0 to the number of steps, {steps}; lower it."
        yield Violation(field, text)


def _of_previews(spec: v1.TrainingSpec, base: v1.BaseModel | None, path: str) -> Iterator[Violation]:
    yield from _of_strengths(spec.previews, f"{path}.previews")
    sampler = spec.previews.sampler
    zero_terminal_snr = spec.zero_terminal_snr or (
        base is not None and base.zero_terminal_snr and not spec.HasField("zero_terminal_snr")
    )
    if zero_terminal_snr and sampler in _NOT_FROM_PURE_NOISE:
        field = f"{path}.previews.sampler"
        text = (
            f"{field} is {v1.PreviewSampler.Name(sampler).removeprefix('PREVIEW_SAMPLER_')}, which cannot draw from pure noise "
            "of a zero terminal SNR; choose DDIM, EULER or BASE."
        )
        yield Violation(field, text, "CONFLICT")
    if spec.concept.activation_tag:
        return
    for index, prompt in enumerate(spec.previews.prompts[:64]):
        for name in ("prompt", "negative_prompt"):
            if "[tag]" in getattr(prompt, name):
                field = f"{path}.previews.prompts[{index}].{name}"
                text = f"{field} has '[tag]', but the concept has no activation_tag; write the words out."
                yield Violation(field, text, "CONFLICT")


def _of_strengths(previews: v1.PreviewSpec, path: str) -> Iterator[Violation]:
    seen: set[float] = set()
    for index, strength in enumerate(previews.strengths[:8]):
        field = f"{path}.strengths[{index}]"
        if abs(100 * strength - round(100 * strength)) > 1e-6:
            yield Violation(field, f"{field} is {strength!r}, but must be in hundredths; round it.")
        if strength in seen:
            yield Violation(field, f"{field} is {strength:g}, which is there already; remove one.", "CONFLICT")
        seen.add(strength)
    if previews.strength_prompts > len(previews.prompts) > 0:
        field = f"{path}.strength_prompts"
        text = f"{field} is {previews.strength_prompts}, but there are {len(previews.prompts)} prompts; lower it, or add prompts."
        yield Violation(field, text)


def _of_running(spec: v1.TrainingSpec, path: str) -> Iterator[Violation]:
    if not spec.HasField("deadline"):
        return
    seconds = spec.deadline.seconds + spec.deadline.nanos / 1e9
    if not 1 <= seconds <= _LONGEST_DEADLINE:
        field = f"{path}.deadline"
        text = (
            f"{field} is {seconds:g} seconds, but must be 1 second to 30 days ({_LONGEST_DEADLINE} seconds); change it."
        )
        yield Violation(field, text)
