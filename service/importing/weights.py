"""One tensor under both of its names: in a single-file checkpoint, and in the diffusers layout. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Weight:
    """A tensor of a network."""

    source: str
    """Its name in a single-file checkpoint (LDM, OpenCLIP), below the network's prefix."""
    target: str
    """Its name in the diffusers layout."""
    shape: Shape
    """There; in the checkpoint it may end in further ones: a 1×1 convolution in the place of a linear layer."""
    part: int | None = None
    """Where queries, keys and values are one tensor in the checkpoint: which third of its rows this is."""
    transposed: bool = False
    """Whether it is stored the other way round in the checkpoint."""

    @property
    def stored_shape(self) -> Shape:
        """Of the tensor in the checkpoint, without ones at the end."""
        shape = self.shape[::-1] if self.transposed else self.shape
        if self.part is not None:
            shape = (3 * shape[0], *shape[1:])
        return without_ones(shape)


def without_ones(shape: Shape) -> Shape:
    """The shape without ones at its end: what is left is in the same order in memory."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def below(source: str, target: str, weights: Iterator[Weight]) -> Iterator[Weight]:
    """The same weights as parts of something larger."""
    for weight in weights:
        yield replace(weight, source=f"{source}{weight.source}", target=f"{target}{weight.target}")


def linear(source: str, target: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[Weight]:
    yield Weight(f"{source}.weight", f"{target}.weight", (outputs, inputs))
    if bias:
        yield Weight(f"{source}.bias", f"{target}.bias", (outputs,))


def convolution(source: str, target: str, inputs: int, outputs: int, side: int = 3) -> Iterator[Weight]:
    yield Weight(f"{source}.weight", f"{target}.weight", (outputs, inputs, side, side))
    yield Weight(f"{source}.bias", f"{target}.bias", (outputs,))


def norm(source: str, target: str, channels: int) -> Iterator[Weight]:
    yield Weight(f"{source}.weight", f"{target}.weight", (channels,))
    yield Weight(f"{source}.bias", f"{target}.bias", (channels,))
