"""What a dataset knows that a spec leaves open: its subsets, its settings, its concept. Pure."""

from __future__ import annotations

from google.protobuf.message import Message

from loramill import v1


def with_suggestions(spec: v1.TrainingSpec, dataset: v1.Dataset | None) -> v1.TrainingSpec:
    """The spec with what the dataset suggests for fields that are not set; the spec itself where there is nothing to add."""
    if dataset is None or not dataset.HasField("suggested"):
        return spec
    suggested, filled = dataset.suggested, v1.TrainingSpec()
    filled.CopyFrom(spec)
    merged = v1.DatasetSpec()
    merged.CopyFrom(suggested.dataset)
    merged.ClearField("subsets")
    merged.MergeFrom(spec.dataset)
    filled.dataset.CopyFrom(merged)
    if suggested.dataset.subsets and _leaves_subsets_open(spec):
        del filled.dataset.subsets[:]
        for subset in suggested.dataset.subsets:
            added = filled.dataset.subsets.add()
            added.CopyFrom(subset)
            for rules in spec.dataset.subsets:
                added.MergeFrom(rules)
    if _names_no_concept(spec):
        _add_concepts(filled, suggested)
    return filled


def credit(resolved: v1.TrainingSpec, sent: v1.TrainingSpec) -> None:
    """Says in the resolved spec's `sources` which of the given fields were not sent, but come from the dataset."""
    for source in resolved.sources:
        if source.source == "given" and not _is_set(sent, source.field):
            source.source = "dataset"


def _is_set(message: Message, path: str) -> bool:
    head, _, rest = path.partition(".")
    found = next((value for field, value in message.ListFields() if field.name == head), None)
    return found is not None and (not rest or _is_set(found, rest))


def warnings(spec: v1.TrainingSpec, dataset: v1.Dataset) -> list[str]:
    """What was added, in sentences; `spec` is as it was sent."""
    suggested, found = dataset.suggested, []
    if suggested.dataset.subsets and _leaves_subsets_open(spec):
        rows = ", ".join(_row(subset) for subset in suggested.dataset.subsets[:5])
        more = f" and {len(suggested.dataset.subsets) - 5} more" if len(suggested.dataset.subsets) > 5 else ""
        found.append(f"dataset.subsets are those that the dataset was found to have: {rows}{more}.")
    given = {field.name for field, _ in spec.dataset.ListFields()}
    others = [field.name for field, _ in suggested.dataset.ListFields() if field.name not in {"subsets", *given}]
    if others:
        found.append(f"{', '.join(f'dataset.{name}' for name in others)}: from the dataset's own configuration.")
    if _names_no_concept(spec) and suggested.concept.activation_tag:
        tags = [suggested.concept.activation_tag, *(concept.activation_tag for concept in suggested.concepts)]
        found.append(f"concept.activation_tag is {' and '.join(map(repr, tags))}, as the dataset's folders are named.")
    return found


def _leaves_subsets_open(spec: v1.TrainingSpec) -> bool:
    """None, or one of everything: rules for whatever subsets there are."""
    subsets = spec.dataset.subsets
    return not subsets or (len(subsets) == 1 and not subsets[0].path_prefix)


def _names_no_concept(spec: v1.TrainingSpec) -> bool:
    concept = spec.concept
    auto = concept.kind in (v1.CONCEPT_KIND_UNSPECIFIED, v1.CONCEPT_KIND_AUTO)
    return auto and not concept.activation_tag and not concept.class_words and not spec.concepts


def _add_concepts(spec: v1.TrainingSpec, suggested: v1.SuggestedSpec) -> None:
    """Tags and class words; whatever else the spec says of its concept stays."""
    spec.concept.activation_tag = suggested.concept.activation_tag
    spec.concept.class_words = suggested.concept.class_words
    if any(subset.concept for subset in spec.dataset.subsets):
        spec.concepts.extend(suggested.concepts)


def _row(subset: v1.SubsetSpec) -> str:
    return f"{subset.path_prefix!r} with {subset.repeats} repeats" if subset.repeats > 1 else repr(subset.path_prefix)
