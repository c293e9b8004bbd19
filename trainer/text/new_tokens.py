"""New tokens of a text encoder: what an activation tag in a caption is read as. Pure; the embeddings that are learnt for them
stand in `families.extended_embedding`.

New tokens have ids below 0. They are in no vocabulary, so they cannot be mistaken for one of its tokens; and old configurations
of CLIP find a caption's end by its largest id, which those of new tokens must not be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.text.tags import NewTag, tag_pattern


class NewTokens:
    """The new tokens of one text encoder. `is_off` says whether the base alone is asked, which reads the tag as it is spelled."""

    def __init__(self, tags: Sequence[NewTag], is_off: Callable[[], bool]) -> None:
        # Of two tags that begin alike the longer one is looked for first.
        self._tags = sorted(tags, key=lambda tag: -len(tag.tag))
        self._is_off = is_off

    def token_ids(self, caption: str, known_ids: Callable[[str], list[int]]) -> list[int]:
        """The caption's tokens; `known_ids` splits what stands between tags."""
        if self._is_off():
            return known_ids(caption)
        return _split(caption, self._tags, known_ids)


def _split(text: str, tags: Sequence[NewTag], known_ids: Callable[[str], list[int]]) -> list[int]:
    if not tags:
        return known_ids(text) if text.strip() else []
    first, *others = tags
    parts = tag_pattern(first.tag).split(text)
    ids = _split(parts[0], others, known_ids)
    for part in parts[1:]:
        ids += [*first.ids, *_split(part, others, known_ids)]
    return ids
