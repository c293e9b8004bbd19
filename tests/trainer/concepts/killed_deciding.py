"""`python -m tests.trainer.concepts.killed_deciding ASSIGNMENT_URI`: a launch whose trainer is killed when it is about to record
what it has decided of its concepts, and once more, started again, when it just has. Prints how each ended.

Both are children of this process, so that the libraries are loaded once.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel

import trainer.assignment
import trainer.families.sd15
import trainer.run
from tests.trainer.concepts.effort import SMALL
from trainer.__main__ import main
from trainer.concepts import deciding

LOADED = (
    (AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel, CLIPTextModel),
    (trainer.assignment, trainer.families.sd15, trainer.run),
)
"""What a trainer loads in the course of its work, here and not in each child."""


def kill_when_recording(*, recorded: bool) -> None:
    """From now on this process dies where it records the decision: before or after it has."""
    put = deciding.put_record

    def die(*arguments: Any) -> bool:
        if recorded:
            put(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("SIGKILL cannot be outlived")

    deciding.put_record = die  # type: ignore[assignment]


if __name__ == "__main__":
    deciding.QUICK = SMALL  # type: ignore[misc]
    for recorded in (False, True):
        child = os.fork()
        if child == 0:
            kill_when_recording(recorded=recorded)
            os._exit(main(sys.argv[1:]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
