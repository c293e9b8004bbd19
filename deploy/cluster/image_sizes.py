"""How large the images are: as a node unpacks them, and as a registry holds them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from deploy.cluster.image_store import LAYOUT
from deploy.cluster.images import Image

_MB = 1e6


def tell(console: Console, images: Sequence[Image]) -> None:
    """Prints a table of the layers of each image. Compressing gigabytes of libraries takes minutes."""
    layers = {layer.digest: layer.size for image in images for layer in LAYOUT.layers(image.digest)}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        compressed = dict(zip(layers, pool.map(LAYOUT.compressed_size, layers), strict=True))
    for image in images:
        digests = [layer.digest for layer in LAYOUT.layers(image.digest)]
        table = Table("layer", "MB", "MB compressed", title=image.repository, show_footer=True)
        for digest in digests:
            table.add_row(
                digest.removeprefix("sha256:")[:12], _megabytes(layers[digest]), _megabytes(compressed[digest])
            )
        for column, size in zip(table.columns[1:], (layers, compressed), strict=True):
            column.justify = "right"
            column.footer = _megabytes(sum(size[digest] for digest in digests))
        console.print(table)


def _megabytes(size: int) -> str:
    return f"{size / _MB:.2f}"
