from __future__ import annotations

from tests.trainer.conftest import tiny_base

__all__ = ["tiny_base"]
