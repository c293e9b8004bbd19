"""What the names of a dataset's files say against a spec, before a GPU is taken for it. Pure.

The trainer looks at the same rules again, and at contents: it has the last word.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from loramill import v1
from loramill.inputs.names import CAPTIONS, ending, is_litter, is_picture, quoted, stem
from service.errors import Violation

_SHOWN = 5
_FROM_FILES = (v1.CAPTION_SOURCE_UNSPECIFIED, v1.CAPTION_SOURCE_FILE)


def violations_of_names(spec: v1.TrainingSpec, paths: Sequence[str], path: str = "spec") -> Iterator[Violation]:
    """`paths` are those of the dataset's files."""
    seen = [name for name in paths if not is_litter(name)]
    pictures = _pictures(spec.dataset, seen)
    if not pictures:
        yield _no_picture(spec, seen, f"{path}.dataset.dataset")
        return
    subsets = spec.dataset.subsets or [v1.SubsetSpec()]
    members = members_of(spec.dataset, paths)
    captioned = {stem(name) for name in seen if ending(name) in CAPTIONS}
    for index, (subset, own) in enumerate(zip(subsets, members, strict=True)):
        place = f"{path}.dataset.subsets[{index}]"
        bare = [name for name in own if stem(name) not in captioned]
        if not own and subset.path_prefix:
            yield _no_member(subset, pictures, f"{place}.path_prefix")
        if bare and subset.captions.source in _FROM_FILES and not subset.class_images:
            yield _no_caption(bare, f"{place}.captions.source")


def members_of(dataset: v1.DatasetSpec, paths: Sequence[str]) -> list[list[str]]:
    """The pictures of each subset: a picture is in that of the longest prefix that its path starts with.

    `paths` are those of the dataset's files; without subsets there is one of everything.
    """
    subsets = dataset.subsets or [v1.SubsetSpec()]
    prefixes = [unicodedata.normalize("NFC", subset.path_prefix) for subset in subsets]
    members: list[list[str]] = [[] for _ in subsets]
    for picture in _pictures(dataset, paths):
        name = unicodedata.normalize("NFC", picture)
        matches = [index for index, prefix in enumerate(prefixes) if name.startswith(prefix)]
        if matches:
            members[max(matches, key=lambda index: len(prefixes[index]))].append(picture)
    return members


def _pictures(dataset: v1.DatasetSpec, paths: Sequence[str]) -> list[str]:
    """The files that are pictures to learn from, and neither masks nor litter."""
    folder = dataset.mask_folder.strip("/")
    masks = unicodedata.normalize("NFC", f"{folder}/") if folder else None
    return [
        name
        for name in paths
        if is_picture(name)
        and not is_litter(name)
        and not (masks is not None and unicodedata.normalize("NFC", name).startswith(masks))
    ]


def _no_picture(spec: v1.TrainingSpec, names: Sequence[str], field: str) -> Violation:
    kinds = Counter(ending(name) or "without an ending" for name in names).most_common(_SHOWN)
    what = ", ".join(f"{count} {kind}" for kind, count in kinds) or "no files that are read"
    kinds_read = ".jpg, .png, .webp, .avif or .bmp"
    text = f"{field} is {spec.dataset.dataset!r}, which has no picture ({kinds_read}), but {what}; upload pictures."
    return Violation(field, text, "NO_PICTURE")


def _no_member(subset: v1.SubsetSpec, pictures: Sequence[str], field: str) -> Violation:
    folders = sorted({name.rpartition("/")[0] for name in pictures})
    there = ", ".join(quoted(f"{folder}/") if folder else "the top folder" for folder in folders[:_SHOWN])
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    text = (
        f"{field} is {quoted(subset.path_prefix)}, where no picture is that is not in a subset with a longer one; "
        f"there are pictures in {there}{more}."
    )
    return Violation(field, text, "NO_PICTURE")


def _no_caption(bare: Sequence[str], field: str) -> Violation:
    names = ", ".join(quoted(name) for name in bare[:_SHOWN])
    more = f" and {len(bare) - _SHOWN} more" if len(bare) > _SHOWN else ""
    count = "1 picture has" if len(bare) == 1 else f"{len(bare)} pictures have"
    text = (
        f"{field} is FILE, but {count} no caption file beside it ({names}{more}); upload captions, or set source to "
        "FILE_OR_FIXED or FIXED, with a text."
    )
    return Violation(field, text, "NO_CAPTION")
