"""What to add, drop, crop or caption, and why: pure functions of what was measured, one for each reason."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.data_report.facts import DataFacts, Judged, PictureFacts
from trainer.data_report.limits import LIMITS, Limits


class Action(enum.StrEnum):
    """What is suggested."""

    ADD = "add"
    DROP = "drop"
    CROP = "crop"
    CAPTION = "caption"


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One thing to do, with its reason and the pictures concerned."""

    code: str
    """Stable, for programs."""
    action: Action
    title: str
    """What was found, in a few words with its count."""
    reason: str
    """Why it matters and what to do: one or two sentences."""
    pictures: Sequence[int] = ()
    """Places of the pictures concerned, the worst first; empty where it is about all."""


Rule = Callable[[DataFacts, Limits], Iterator[Suggestion]]


def suggestions(facts: DataFacts, limits: Limits = LIMITS) -> list[Suggestion]:
    """All that can be suggested, in the order of RULES."""
    return [suggestion for rule in RULES for suggestion in rule(facts, limits)]


def _count(number: int, one: str, many: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {many}"


def _named(subset: str) -> str:
    return f"“{subset}”" if subset else "(all other files)"


def _worst(
    facts: DataFacts, is_bad: Callable[[PictureFacts], bool], badness: Callable[[PictureFacts], float]
) -> list[int]:
    bad = [place for place, picture in enumerate(facts.pictures) if is_bad(picture)]
    return sorted(bad, key=lambda place: -badness(facts.pictures[place]))


def wrong_captions(judged: Sequence[Judged | PictureFacts], limits: Limits = LIMITS) -> list[int]:
    """Places of the captions that the base model contradicts, the worst first. None where it knows nothing of what they speak."""
    gains = [one.caption_gain for one in judged if one.caption_gain is not None]
    if not gains or float(np.median(gains)) < limits.speaks_of_these:
        return []
    harm = [
        max(-(one.words_gain or 0.0) / -limits.wrong_words, (one.instead_gain or 0.0) / limits.fits_better)
        for one in judged
    ]
    return sorted((place for place, value in enumerate(harm) if value > 1), key=lambda place: -harm[place])


def _wrong_captions(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = wrong_captions(facts.pictures, limits)
    if bad:
        yield Suggestion(
            code="CAPTION_PROBABLY_WRONG",
            action=Action.CAPTION,
            title=_count(len(bad), "caption is probably wrong", "captions are probably wrong"),
            reason="The base model finds these pictures much less likely with the words shown than without them: it knows them "
            "as something else. Look whether they say what is to be seen, and correct those that do not.",
            pictures=bad,
        )


def _empty_captions(facts: DataFacts, _: Limits) -> Iterator[Suggestion]:
    if facts.captions.empty:
        yield Suggestion(
            code="CAPTION_EMPTY",
            action=Action.CAPTION,
            title=_count(len(facts.captions.empty), "picture has an empty caption", "pictures have empty captions"),
            reason="All that is in these pictures goes to the activation tag or, without one, to the empty prompt. Say in their "
            "captions what is not part of the concept.",
            pictures=facts.captions.empty,
        )


def _long_captions(facts: DataFacts, _: Limits) -> Iterator[Suggestion]:
    if long := facts.captions.too_long:
        yield Suggestion(
            code="CAPTION_TOO_LONG",
            action=Action.CAPTION,
            title=_count(len(long), "caption is cut", "captions are cut"),
            reason=f"The text encoder reads {facts.captions.token_limit} tokens; what comes after them is never learnt. Shorten "
            "them, what matters first.",
            pictures=sorted(long, key=lambda place: -(facts.captions.tokens or ())[place]),
        )


def _identical_captions(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    for text, places in facts.captions.identical[:1]:
        if len(facts.pictures) > 1 and len(places) > limits.identical_captions * len(facts.pictures):
            yield Suggestion(
                code="CAPTIONS_IDENTICAL",
                action=Action.CAPTION,
                title=f"{len(places)} of {len(facts.pictures)} pictures have the same caption",
                reason=f"“{text[:120]}” tells these pictures apart no more, so that what differs between them (ground, pose, "
                "light) is learnt as part of the concept. Say in each caption what is particular to it.",
                pictures=places,
            )


def _common_tags(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    total = len(facts.pictures)
    common = [tag for tag, count in facts.captions.tags if count >= limits.in_every_caption * total]
    if common and total > 1 and any(subset.activation_tag for subset in facts.subsets):
        yield Suggestion(
            code="TAG_IN_EVERY_CAPTION",
            action=Action.CAPTION,
            title=_count(len(common), "tag is in nearly every caption", "tags are in nearly every caption"),
            reason=f"{', '.join(f'“{tag}”' for tag in common[:8])}: it shares what it means with the activation tag, and without "
            "it the concept is weaker. If it is part of the concept, leave it out of the captions.",
        )


def _duplicates(facts: DataFacts, _: Limits) -> Iterator[Suggestion]:
    if facts.near_duplicates:
        copies = [place for group in facts.near_duplicates for place in group]
        spare = len(copies) - len(facts.near_duplicates)
        yield Suggestion(
            code="NEAR_DUPLICATES",
            action=Action.DROP,
            title=f"{_count(spare, 'picture is', 'pictures are')} nearly the same as another",
            reason=f"There are {_count(len(facts.near_duplicates), 'group', 'groups')} of pictures that differ little. Each "
            "counts as one more, so that an adapter learns their accidents by heart. Keep the best of each group.",
            pictures=copies,
        )


def _blurred(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = _worst(facts, lambda picture: picture.blur > limits.blur, lambda picture: picture.blur)
    if bad:
        yield Suggestion(
            code="BLURRED",
            action=Action.DROP,
            title=_count(len(bad), "picture looks blurred", "pictures look blurred"),
            reason="At the size that they are trained at, their edges are soft: an adapter learns that too. Replace them by "
            "sharper ones, or say so in the caption, if it is meant.",
            pictures=bad,
        )


def _tiny(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = _worst(
        facts,
        lambda picture: picture.enlarged > limits.enlarged or picture.short_of_resolution > limits.tiny,
        lambda picture: max(picture.enlarged - 1, picture.short_of_resolution),
    )
    if bad:
        yield Suggestion(
            code="TOO_SMALL",
            action=Action.DROP,
            title=_count(len(bad), "picture is small", "pictures are small"),
            reason=f"They have far fewer pixels than the resolution of {facts.resolution}: enlarged they teach softness, and at "
            "their own size things are smaller than the base model knows them. Use larger originals.",
            pictures=bad,
        )


def _low_contrast(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = _worst(facts, lambda one: one.contrast < limits.low_contrast, lambda one: -one.contrast)
    if bad:
        yield Suggestion(
            code="LOW_CONTRAST",
            action=Action.DROP,
            title=_count(len(bad), "picture has hardly any contrast", "pictures have hardly any contrast"),
            reason="Nearly all of it is of one lightness: very dark, very bright or foggy. Correct the exposure, or leave "
            "them out.",
            pictures=bad,
        )


def _not_kept(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    errors = [one.reconstruction_error for one in facts.pictures if one.reconstruction_error is not None]
    if len(errors) < 2:
        return
    limit = max(limits.reconstruction_outlier * float(np.median(errors)), limits.reconstruction_least)
    bad = _worst(
        facts,
        lambda one: (one.reconstruction_error or 0.0) > limit,
        lambda one: one.reconstruction_error or 0.0,
    )
    if bad:
        yield Suggestion(
            code="LOST_BY_VAE",
            action=Action.DROP,
            title=_count(len(bad), "picture is not kept by the VAE", "pictures are not kept by the VAE"),
            reason="What the model works on is the VAE's version of a picture, and of these it loses much: fine text, fine "
            "patterns, noise. Train at a larger resolution, crop closer, or leave them out.",
            pictures=bad,
        )


def _cut_off(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = _worst(facts, lambda picture: picture.lost > limits.lost, lambda picture: picture.lost)
    if bad:
        yield Suggestion(
            code="MUCH_CUT_OFF",
            action=Action.CROP,
            title=_count(len(bad), "picture loses much", "pictures lose much") + " to the crop",
            reason=f"More than {limits.lost:.0%} of their area is never seen. Crop them yourself around what matters, or let "
            "dataset.buckets keep aspect ratios.",
            pictures=bad,
        )


def _bars(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    bad = _worst(facts, lambda picture: max(picture.bars) > limits.bar, lambda picture: max(picture.bars))
    if bad:
        yield Suggestion(
            code="BARS",
            action=Action.CROP,
            title=_count(len(bad), "picture has bars", "pictures have bars") + " of one colour at the border",
            reason="Frames and letterboxes are learnt as part of the concept. Cut them off.",
            pictures=bad,
        )


def _marked(facts: DataFacts, _: Limits) -> Iterator[Suggestion]:
    if facts.marked:
        yield Suggestion(
            code="COMMON_MARK",
            action=Action.CROP,
            title=_count(len(facts.marked), "picture carries", "pictures carry") + " the same mark near the border",
            reason="Something stands at the same place of many pictures, such as a watermark or a caption. An adapter draws "
            "it first of all. Cut it off, or use pictures without it.",
            pictures=facts.marked,
        )


def _few(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    spare = sum(len(group) - 1 for group in facts.near_duplicates)
    different = len(facts.pictures) - spare
    if different < limits.few_pictures:
        yield Suggestion(
            code="FEW_PICTURES",
            action=Action.ADD,
            title=f"only {_count(different, 'picture', 'different pictures')}",
            reason=f"With fewer than {limits.few_pictures} an adapter repeats its pictures. Add some that show the concept in "
            "other surroundings, from other sides and in other light.",
        )


def _unequal_subsets(facts: DataFacts, limits: Limits) -> Iterator[Suggestion]:
    counts = Counter(picture.subset for picture in facts.pictures)
    visits = {index: counts[index] * subset.repeats for index, subset in enumerate(facts.subsets) if counts[index]}
    if len(visits) < 2:
        return
    least, most = min(visits, key=lambda index: visits[index]), max(visits, key=lambda index: visits[index])
    if visits[most] > limits.subset_share * visits[least]:
        yield Suggestion(
            code="SUBSET_RARELY_VISITED",
            action=Action.ADD,
            title=f"subset {_named(facts.subsets[least].name)} is hardly seen",
            reason=f"An epoch visits it {visits[least]} times, and {_named(facts.subsets[most].name)} {visits[most]} times. Add "
            "pictures to it, or raise its repeats.",
        )


RULES: tuple[Rule, ...] = (
    _wrong_captions,
    _empty_captions,
    _long_captions,
    _identical_captions,
    _common_tags,
    _duplicates,
    _blurred,
    _tiny,
    _low_contrast,
    _not_kept,
    _marked,
    _bars,
    _cut_off,
    _few,
    _unequal_subsets,
)
"""In the order in which they are shown: what spoils most comes first."""
