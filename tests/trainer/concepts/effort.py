"""How much the tests measure of a concept: as little as there can be."""

from __future__ import annotations

from trainer.concepts.measuring import Effort

SMALL = Effort(pictures=2, pairs=4, trial_pairs=2)
