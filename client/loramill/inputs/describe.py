"""What was found, as a record of the contract and as lines for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loramill import v1
from loramill.inputs.result import SHOWN, Input, Layout
from loramill.plain import to_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAYOUTS = {
    Layout.PLAIN: v1.DATASET_LAYOUT_PLAIN,
    Layout.KOHYA_FOLDERS: v1.DATASET_LAYOUT_KOHYA_FOLDERS,
    Layout.KOHYA_TOML: v1.DATASET_LAYOUT_KOHYA_TOML,
    Layout.IMAGEFOLDER: v1.DATASET_LAYOUT_IMAGEFOLDER,
    Layout.WEBDATASET: v1.DATASET_LAYOUT_WEBDATASET,
}
_MOST = 100
_LONGEST_NOTE, _LONGEST_REASON = 1000, 200


def layout_of(number: v1.DatasetLayout.ValueType) -> Layout | None:
    """The layout of the contract's enum; None where it is to be found out."""
    return next((layout for layout, value in _LAYOUTS.items() if value == number), None)


def number_of(layout: Layout | None) -> v1.DatasetLayout.ValueType:
    """The way back."""
    return v1.DATASET_LAYOUT_UNSPECIFIED if layout is None else _LAYOUTS[layout]


def record_of(found: Input, source: str) -> v1.DatasetInput:
    """What the dataset keeps of it; `source` is the name of folder or archive, or an address."""
    return v1.DatasetInput(
        layout=_LAYOUTS[found.layout],
        source=source[:1000],
        pictures=len(found.pictures),
        captions=len(found.captions),
        subsets=[
            v1.InputSubset(path_prefix=part.spec.path_prefix, pictures=part.pictures, captioned=part.captioned)
            for part in found.parts
        ],
        ignored=[
            v1.IgnoredFiles(reason=reason[:_LONGEST_REASON], count=len(labels), examples=labels[:SHOWN])
            for reason, labels in found.reasons()[:_MOST]
        ],
        notes=[note[:_LONGEST_NOTE] for note in found.notes[:_MOST]],
    )


def lines_of(found: v1.DatasetInput, suggested: v1.SuggestedSpec) -> Iterator[str]:
    """For people: what is taken and how, what is left out and why, and what jobs will get of it."""
    title = next((layout.title for layout, value in _LAYOUTS.items() if value == found.layout), "an unknown layout")
    yield (
        f"Read as {title}: {_counted(found.pictures, 'picture')}, {_counted(found.captions, 'caption')}"
        + (f" in {_counted(len(found.subsets), 'subset')}." if found.subsets else ".")
    )
    specs = {spec.path_prefix: spec for spec in suggested.dataset.subsets}
    for subset in found.subsets:
        yield f"  {_subset_line(subset, specs.get(subset.path_prefix, v1.SubsetSpec()))}"
    for group in found.ignored:
        names = ", ".join(name if name.isprintable() else ascii(name) for name in group.examples)
        more = f" and {group.count - len(group.examples)} more" if group.count > len(group.examples) else ""
        yield f"Ignored ({group.reason}): {names}{more}."
    yield from (f"Note: {note}" for note in found.notes)
    concepts = [concept for concept in (suggested.concept, *suggested.concepts) if concept.activation_tag]
    for concept in concepts:
        words = f", which is a kind of {concept.class_words!r}" if concept.class_words else ""
        yield f"Jobs get the activation tag {concept.activation_tag!r}{words}, unless they name a concept."
    settings = [
        f"{field.name}: {_value(suggested.dataset, field.name)}"
        for field, _ in suggested.dataset.ListFields()
        if field.name != "subsets"
    ]
    if settings:
        yield f"Jobs get {', '.join(settings)}, unless they say otherwise."


def _subset_line(subset: v1.InputSubset, spec: v1.SubsetSpec) -> str:
    parts = [
        _counted(subset.pictures, "picture"),
        f"{spec.repeats or 1} {'repeat' if spec.repeats <= 1 else 'repeats'}",
    ]
    bare = subset.pictures - subset.captioned
    if spec.class_images:
        parts.append("of the class")
    if bare and spec.captions.text:
        parts.append(f"{bare} of them with the caption {spec.captions.text!r}")
    elif bare:
        parts.append(f"{bare} of them without a caption")
    rules = [
        f"{field.name}: {_value(spec.captions, field.name)}"
        for field, _ in spec.captions.ListFields()
        if field.name not in ("source", "text")
    ]
    if spec.HasField("flip_probability"):
        rules.append(f"flip_probability: {spec.flip_probability:g}")
    return f"{subset.path_prefix or 'the rest'}: {', '.join([*parts, *rules])}"


def _value(message: v1.CaptionSpec | v1.DatasetSpec, name: str) -> str:
    value = to_plain(message)[name]
    return str(value).lower() if isinstance(value, bool) else f"{value!r}" if isinstance(value, str) else f"{value:g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
