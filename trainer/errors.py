"""What can go wrong in a run. Each class knows its exit code, and so whether the job is launched again.

TrainerError                 1  bug in Loramill (also any exception that is not of this tree)
├── UserError               64  data or spec cannot be trained on; carries every problem at once
├── OutOfMemory             65
├── Diverged                66
├── Preempted               68  stopped by a signal, a checkpoint is saved
├── StorageFailed           69  the object store could not be used
├── DeadlineExceeded        70
├── Superseded              71  another run holds the claim, or the job has gone on without this one
├── Cancelled               72  the job was cancelled; a partial adapter may be saved
└── Outdated                73  the assignment needs something that this version does not know
"""

from __future__ import annotations

from collections.abc import Sequence

from loramill import v1


class TrainerError(Exception):
    """An error in Loramill itself. The message is one sentence that names the thing, what was expected, and the remedy."""

    exit_code: v1.ExitCode.ValueType = v1.EXIT_CODE_BUG


class UserError(TrainerError):
    """Data or spec cannot be trained on. `problems` are sentences, all of them at once."""

    exit_code = v1.EXIT_CODE_USER_ERROR

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(" ".join(self.problems))


class OutOfMemory(TrainerError):
    exit_code = v1.EXIT_CODE_OUT_OF_MEMORY


class Diverged(TrainerError):
    exit_code = v1.EXIT_CODE_DIVERGED


class Preempted(TrainerError):
    exit_code = v1.EXIT_CODE_PREEMPTED


class StorageFailed(TrainerError):
    exit_code = v1.EXIT_CODE_STORAGE


class DeadlineExceeded(TrainerError):
    exit_code = v1.EXIT_CODE_DEADLINE_EXCEEDED


class Superseded(TrainerError):
    exit_code = v1.EXIT_CODE_SUPERSEDED


class Cancelled(TrainerError):
    exit_code = v1.EXIT_CODE_CANCELLED


class Outdated(TrainerError):
    exit_code = v1.EXIT_CODE_OUTDATED
