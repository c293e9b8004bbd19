"""Every random number of training: counter-based, so that a draw depends on what it is for and on nothing before it.

A draw is keyed by the job's seed, its purpose, and the example and visit (or the step) that it is for. Philox (Salmon et al.,
SC'11) turns the key into an independent stream; there is no state to save, and resuming is drawing again.
"""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, purpose: str, *key: str | int) -> np.random.Generator:
    """The stream of random numbers for one purpose, such as `generator(seed, "noise", example.id, visit)`."""
    words = "\x00".join([str(seed), purpose, *(f"{type(part).__name__}:{part}" for part in key)])
    digest = hashlib.blake2b(words.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(digest, dtype=np.uint64)))
