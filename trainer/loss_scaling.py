"""fp16: the loss is scaled up so that small gradients do not vanish (Micikevicius et al., arXiv 1710.03740, sec. 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FIRST = 2.0**16
GROWTH_INTERVAL = 2000
"""Good steps in a row after which the scale is doubled, as in torch's GradScaler."""


class LossScale:
    """The scale is halved, and the step left out, when a gradient is not finite. It asks the device in each step."""

    def __init__(self) -> None:
        self.scale, self._good_steps = FIRST, 0

    def unscale(self, gradients: Tensor) -> bool:
        """Divides the gradients by the scale; whether they can be used. The scale is then the next step's."""
        gradients.div_(self.scale)
        if not bool(torch.isfinite(gradients).all()):
            self.scale, self._good_steps = max(1.0, self.scale / 2), 0
            return False
        self._good_steps += 1
        if self._good_steps == GROWTH_INTERVAL:
            self.scale, self._good_steps = self.scale * 2, 0
        return True

    def state(self) -> dict[str, Tensor]:
        return {"numbers": torch.tensor([self.scale, self._good_steps], dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor], step: int) -> None:  # noqa: ARG002 (as optimizers have it)
        """An empty state is that of the beginning."""
        scale, good_steps = state["numbers"].tolist() if state else (FIRST, 0)
        self.scale, self._good_steps = scale, int(good_steps)
