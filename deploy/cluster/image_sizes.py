"""How large the images are: as a node unpacks them, and as a registry holds them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from deploy.cluster.image_store import LAYOUT
from deploy.cluster.images import Image

_MB = 1e6


def tell(console: Console, images: Iterable[Image]) -> None:
    """Prints a table of the layers of each image. Compressing a trainer's gigabytes takes minutes."""
    for image in images:
        console.print(_table(image))


def _table(image: Image) -> Table:
    layers = LAYOUT.layers(image.digest)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        compressed = list(pool.map(LAYOUT.compressed_size, (layer.digest for layer in layers)))
    table = Table("layer", title=image.repository, show_footer=True)
    table.add_column("MB", _megabytes(sum(layer.size for layer in layers)), justify="right")
    table.add_column("MB compressed", _megabytes(sum(compressed)), justify="right")
    for layer, size in zip(layers, compressed, strict=True):
        table.add_row(layer.digest.removeprefix("sha256:")[:12], _megabytes(layer.size), _megabytes(size))
    return table


def _megabytes(size: int) -> str:
    return f"{size / _MB:.2f}"
