"""What the fields on pictures, subsets and captions ask of each other and of the concepts. Pure.

Bounds of single fields stand in `service.bounds`.
"""

from __future__ import annotations

from collections.abc import Iterator

from loramill import v1
from service.errors import Violation


def violations_of_dataset(spec: v1.TrainingSpec, path: str, *, trains: bool = True) -> Iterator[Violation]:
    """Everything that is wrong with `spec.dataset` and with the subsets' concepts, field by field.

    Where nothing is trained, there may be pictures without a word.
    """
    yield from _of_pictures(spec.dataset, f"{path}.dataset")
    prefixes: dict[str, int] = {}
    for index, subset in enumerate(spec.dataset.subsets):
        place = f"{path}.dataset.subsets[{index}]"
        if subset.path_prefix in prefixes:
            text = (
                f"{place}.path_prefix is {subset.path_prefix[:80]!r}, as is that of subsets[{prefixes[subset.path_prefix]}]; "
                "give each subset its own."
            )
            yield Violation(f"{place}.path_prefix", text, "DUPLICATE")
        prefixes.setdefault(subset.path_prefix, index)
        yield from _of_concept_named(subset, spec, place)
        yield from _of_caption_text(subset, concept_of(subset, spec), f"{place}.captions.text", trains=trains)
        yield from _of_caption_rules(subset.captions, f"{place}.captions")
    yield from _of_what_is_shown(spec, path)


def name_of(concept: v1.ConceptSpec) -> str:
    """What subsets call a concept."""
    return concept.activation_tag or concept.class_words


def concept_of(subset: v1.SubsetSpec, spec: v1.TrainingSpec) -> v1.ConceptSpec:
    """What a subset's pictures show; the spec's `concept` where what it names does not exist."""
    if not subset.concept:
        return spec.concept
    return next((one for one in spec.concepts if name_of(one) == subset.concept), spec.concept)


def _of_pictures(dataset: v1.DatasetSpec, path: str) -> Iterator[Violation]:
    if dataset.mask_folder and dataset.masks != v1.MASK_SOURCE_FILE:
        field = f"{path}.mask_folder"
        text = f"{field} is set, but {path}.masks is not FILE, so that no mask file is read; set it, or leave the folder out."
        yield Violation(field, text, "CONFLICT")
    if dataset.HasField("crop_variants") and dataset.crop != v1.CROP_RANDOM:
        field = f"{path}.crop_variants"
        text = (
            f"{field} is set, but {path}.crop is not RANDOM, which alone has several places; set it, or leave this out."
        )
        yield Violation(field, text, "CONFLICT")


def _of_concept_named(subset: v1.SubsetSpec, spec: v1.TrainingSpec, place: str) -> Iterator[Violation]:
    names = [name_of(concept) for concept in (spec.concept, *spec.concepts)]
    if subset.concept and subset.concept not in names:
        field = f"{place}.concept"
        known = ", ".join(repr(name) for name in names if name) or "none"
        text = f"{field} is {subset.concept[:80]!r}, but the concepts of the spec are {known}; name one of them."
        yield Violation(field, text, "NOT_FOUND")


def _of_caption_text(
    subset: v1.SubsetSpec, concept: v1.ConceptSpec, field: str, *, trains: bool
) -> Iterator[Violation]:
    captions = subset.captions
    takes_text = captions.source in (v1.CAPTION_SOURCE_FIXED, v1.CAPTION_SOURCE_FILE_OR_FIXED)
    instead = concept.class_words if subset.class_images else concept.activation_tag
    if trains and takes_text and not captions.text and not instead:
        source = v1.CaptionSource.Name(captions.source).removeprefix("CAPTION_SOURCE_")
        yield Violation(field, f"{field} is empty, but source {source} needs it; write the caption there.", "REQUIRED")
    of_class = subset.class_images and captions.source == v1.CAPTION_SOURCE_UNSPECIFIED
    if captions.text and not takes_text and not of_class:
        text = (
            f"{field} is set, but source FILE does not use it; set source to FIXED or FILE_OR_FIXED, or leave text out."
        )
        yield Violation(field, text, "CONFLICT")


def _of_caption_rules(captions: v1.CaptionSpec, path: str) -> Iterator[Violation]:
    # Captions are parted at `keep_separator` first, then at `separator`, then at `group_separator`.
    separator, keep, group = captions.separator or ",", captions.keep_separator, captions.group_separator
    hidden = {"keep_separator": [keep] if keep in (separator, group) else [], "group_separator": []}
    hidden["group_separator"] = [other for other in (separator, keep) if other and other in group]
    for name, others in hidden.items():
        if others and getattr(captions, name):
            field = f"{path}.{name}"
            text = (
                f"{field} is {getattr(captions, name)!r}, but captions are parted at {others[0]!r} too; "
                "choose one that has nothing of the other separators."
            )
            yield Violation(field, text, "CONFLICT")
    if captions.lines_as_alternatives and captions.source == v1.CAPTION_SOURCE_FIXED:
        field = f"{path}.lines_as_alternatives"
        text = f"{field} is true, but source FIXED reads no files; leave it out, or write alternatives as {{a|b}} with wildcards."
        yield Violation(field, text, "CONFLICT")
    if captions.HasField("variants") and not varies(captions):
        field = f"{path}.variants"
        text = (
            f"{field} is set, but nothing of the captions is drawn; set shuffle_tags, tag_dropout, wildcards or "
            "lines_as_alternatives, or leave it out."
        )
        yield Violation(field, text, "CONFLICT")


def varies(captions: v1.CaptionSpec) -> bool:
    """Whether a picture's caption can differ between visits, apart from being empty."""
    return bool(captions.shuffle_tags or captions.tag_dropout or captions.wildcards or captions.lines_as_alternatives)


def _of_what_is_shown(spec: v1.TrainingSpec, path: str) -> Iterator[Violation]:
    """Each concept is shown by a subset, and has a name of its own."""
    shown = {subset.concept or name_of(spec.concept) for subset in spec.dataset.subsets if not subset.class_images}
    if spec.dataset.subsets and not shown:
        field = f"{path}.dataset.subsets"
        text = f"{field} are class images all of them, so that no concept is taught; add a subset that shows it."
        yield Violation(field, text, "CONFLICT")
        return
    if spec.concepts and spec.dataset.subsets and name_of(spec.concept) not in shown:
        text = f"{path}.concept is shown by no subset; leave `concept` out of one, or name it there."
        yield Violation(f"{path}.concept", text, "CONFLICT")
    names = {name_of(spec.concept).lower()}
    for index, concept in enumerate(spec.concepts[:32]):
        field, name = f"{path}.concepts[{index}]", name_of(concept)
        if name and name.lower() in names:
            text = f"{field} is called {name[:80]!r}, as another concept is; give each a tag of its own."
            yield Violation(field, text, "DUPLICATE")
        elif name and name not in shown:
            text = (
                f"{field} is shown by no subset; set the field concept of one to {name[:80]!r}, or remove the concept."
            )
            yield Violation(field, text, "CONFLICT")
        names.add(name.lower())
        for part in ("weight", "ratio", "images"):
            if concept.prior_preservation.HasField(part):
                inner = f"{field}.prior_preservation.{part}"
                text = (
                    f"{inner} is set, but holds for all concepts in one; set {path}.concept.prior_preservation.{part}."
                )
                yield Violation(inner, text, "CONFLICT")
