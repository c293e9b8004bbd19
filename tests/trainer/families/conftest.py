from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, Path]:
    """The folder of a random base model of each family."""
    from tests.trainer.tiny_families import make_tiny_sd2, make_tiny_sdxl

    return {
        "sd15": tiny_base,
        "sd2": make_tiny_sd2(tmp_path_factory.mktemp("sd2")),
        "sdxl": make_tiny_sdxl(tmp_path_factory.mktemp("sdxl")),
    }
