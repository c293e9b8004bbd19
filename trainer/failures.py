"""Whatever went wrong, as one of the trainer's own kinds."""

from __future__ import annotations

import errno

from store import StoreError
from trainer.errors import OutOfMemory, StorageFailed, TrainerError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def as_trainer_error(error: Exception) -> TrainerError:
    """`error` itself where it is of the tree; else the kind whose remedy helps, or a bug of ours."""
    if isinstance(error, TrainerError):
        return error
    if isinstance(error, StoreError):
        return StorageFailed(f"The object store could not be used: {error}")
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" (writing {error.filename})" if error.filename else ""
        return StorageFailed(
            f"The trainer's own disk is full{where}: base model, dataset and adapters need room there; free some, or have "
            "the operator raise the ephemeral storage of the compute class."
        )
    if isinstance(error, MemoryError):
        return OutOfMemory(f"Memory did not suffice; use a smaller batch or resolution ({error}).")
    return TrainerError(f"An error in Loramill: {type(error).__name__}: {error}")


def is_unforeseen(error: Exception) -> bool:
    """Whether it is a bug of ours, so that people need to see where it came from."""
    return type(as_trainer_error(error)) is TrainerError
