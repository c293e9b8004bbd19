"""What one visit sees of an example's picture: mirrored or not, cut at one of its places. Pure."""

from __future__ import annotations

from typing import NamedTuple

from trainer.data.dataset import Example


class View(NamedTuple):
    """One way to see a picture; latents and masks are kept by it."""

    example_id: str
    mirrored: bool
    place: int = 0
    """Index of the crop in the example's `crops`."""


def views_of(example: Example, *, mirrored: bool) -> tuple[View, ...]:
    """Every view that a visit of this example can have; `mirrored`: whether it can be mirrored."""
    return tuple(
        View(example.id, mirror, place)
        for place in range(len(example.crops))
        for mirror in ((False, True) if mirrored else (False,))
    )


def offset(example: Example, view: View) -> tuple[int, int]:
    """(left, top) pixels of the resized, mirrored picture that the view cuts off before what it shows."""
    left, top, right, _ = example.crops[view.place]
    return (example.resize[0] - right if view.mirrored else left), top
