"""A stand-in for the trainer as a real process: `python standin.py SCRIPT ASSIGNMENT_URI`, SCRIPT as JSON, acts by launch.

Beyond the acts of `Acts`: `work` goes on until it is stopped (SIGTERM: plays what follows, then ends), `deaf` goes on and
does not hear SIGTERM, `kill` dies of SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from loramill import v1
from store.open import open_store
from store.records import read_record
from store.uris import split_uri
from tests.service.runtime.acts import Acts


def main(script: dict[str, Sequence[str]], assignment_uri: str) -> int:
    root, key = split_uri(assignment_uri)
    assignment = read_record(open_store(root), key, v1.Assignment)
    assert assignment is not None
    job = assignment.training_job.partition("/")[2]
    acts = Acts(open_store(assignment.run_uri), "", job)
    todo = list(script.get(str(assignment.launch), script[max(script)]))
    print(f"launch {assignment.launch} begins", flush=True)
    while todo:
        act = todo.pop(0)
        if act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif act == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            acts.status()
            signal.pause()
        elif act == "work":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            acts.status()
            signal.sigwait([signal.SIGTERM])
        else:
            code = acts.play([act])
            if code:
                return code
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), sys.argv[2]))
