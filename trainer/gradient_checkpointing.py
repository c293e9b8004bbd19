"""Gradient checkpointing (Chen et al., arXiv 1604.06174): blocks keep their inputs only, and are computed again backwards.

Both libraries put torch's random state back for that, so that elementwise dropout is the same; what is drawn for the whole
adapter (DyLoRA's rank, layers left out) holds for a step anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch


def compute_again(networks: Iterable[torch.nn.Module]) -> None:
    """Switches it on in networks of diffusers and transformers; it acts while they are in training mode."""
    for network in networks:
        if hasattr(network, "enable_gradient_checkpointing"):
            network.enable_gradient_checkpointing()  # type: ignore[operator]
        else:
            network.gradient_checkpointing_enable(  # type: ignore[operator]
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
