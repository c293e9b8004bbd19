"""How long this process goes on asking a store that does not answer.

It is said for all that the process does: a service soon tells its caller, who can ask again; a trainer has much to lose, and
waits; one that is being stopped has seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """A request is given up after so many attempts, or so many seconds, whichever comes first."""

    attempts: int | None = 10
    seconds: float = 90.0


_patience = Patience()


def be_patient(seconds: float) -> None:
    """From now on a request is given up only after so many seconds without a usable answer."""
    global _patience
    _patience = Patience(attempts=None, seconds=seconds)


def patience() -> Patience:
    return _patience
