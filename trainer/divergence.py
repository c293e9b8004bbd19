"""Whether training has gone astray though every number is finite: a pure rule over the losses, told in order.

What it looks at are means over as many steps as in the beginning, so that single bad pictures and timesteps do not count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trainer.errors import Diverged

WINDOW = 32
"""Steps of a mean."""
FACTOR = 10.0
"""How many times the first window's mean is too much. Losses of healthy runs stay within a factor of 2 or so of where they begin,
since most of a loss is noise that cannot be predicted."""


class DivergenceGuard:
    """Told every step's loss once, in order."""

    def __init__(self, losses: Iterable[float] = ()) -> None:
        """`losses` are those of the steps before, in order."""
        self._first: list[float] = []
        self._newest: deque[float] = deque(maxlen=WINDOW)
        for loss in losses:
            self._keep(loss)

    def look(self, step: int, loss: float, names: Iterable[str] = ()) -> None:
        """Raises Diverged when the newest window's mean is too high."""
        self._keep(loss)
        if len(self._first) < WINDOW or len(self._newest) < WINDOW:
            return
        first, newest = sum(self._first) / WINDOW, sum(self._newest) / WINDOW
        if newest > FACTOR * first:
            pictures = ", ".join(repr(name) for name in names)
            raise Diverged(
                f"The loss has grown to {newest:.3g} at step {step} (mean of {WINDOW} steps), {newest / first:.0f} times that of "
                f"the first {WINDOW} steps; the last pictures were {pictures}. Lower the learning rate."
            )

    def _keep(self, loss: float) -> None:
        if len(self._first) < WINDOW:
            self._first.append(loss)
        self._newest.append(loss)
