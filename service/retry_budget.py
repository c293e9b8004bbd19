"""How often requests may be repeated, over all callers: a fifth of them, so that repeating never doubles a crowd."""

from __future__ import annotations

import threading


class RetryBudget:
    """A purse of repetitions: each request puts a part of one in, each repetition takes one out. Safe for threads."""

    def __init__(self, share: float = 0.2, size: float = 20.0) -> None:
        """`share` of the requests may be repeated; `size` repetitions are there at first, and at most."""
        self._share = share
        self._size = size
        self._left = size
        self._lock = threading.Lock()

    def deposit(self) -> None:
        with self._lock:
            self._left = min(self._size, self._left + self._share)

    def withdraw(self) -> bool:
        """Whether a repetition is left, which is then used."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True
