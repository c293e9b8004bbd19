"""What a trainer leaves in the record, in as few lines as possible: shared by the pretended and the real stand-ins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from loramill import v1
from service.times import to_timestamp
from store.object_store import ObjectStore
from store.records import put_record, put_status_record

FILE_NAME = "adapter.safetensors"
CONTENT = b"weights"


class Acts:
    """The acts of one run. `run` is the key of its folder in `store`."""

    def __init__(self, store: ObjectStore, run: str, job: str) -> None:
        self.store, self.run, self.job = store, run, job
        self._results: list[v1.ResultFile] = []

    def claim(self) -> bool:
        return put_record(self.store, f"{self.run}claim.json", v1.Claim(token=self.run, create_time=_now()))

    def status(self, phase: v1.Phase.ValueType = v1.PHASE_TRAINING, step: int = 1) -> None:
        progress = v1.Progress(phase=phase, step=step, steps=10, update_time=_now())
        put_status_record(self.store, f"{self.run}status.json", v1.RunStatus(progress=progress))

    def adapter(
        self, suffix: str = "final", *, partial: bool = False, content: bytes = CONTENT, missing: bool = False
    ) -> None:
        """Commits an adapter. Its one file holds `content`, which is what was committed only if it is CONTENT."""
        folder = f"{self.run}adapters/{suffix}"
        if not missing:
            self.store.put_new(f"{folder}/{FILE_NAME}", content)
        file = v1.AdapterFile(file_name=FILE_NAME, size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())
        step = 10 if suffix == "final" else int(suffix)
        adapter = v1.Adapter(
            name=f"adapters/{self.job}-{suffix}", step=step, partial=partial, files=[file], create_time=_now()
        )
        put_record(self.store, f"{folder}/manifest.json", v1.AdapterManifest(adapter=adapter))

    def result(self, *, content: bytes = CONTENT) -> None:
        """A file that the run's last word commits, as CONTENT whatever it holds."""
        path = "data-report/report.txt"
        self.store.put_new(f"{self.run}{path}", content)
        sha256 = hashlib.sha256(CONTENT).hexdigest()
        self._results.append(v1.ResultFile(path=path, size_bytes=len(CONTENT), sha256=sha256))

    def end(self, code: int = 0, message: str = "Done.") -> int:
        exit_code = v1.ExitCode.Name(code) if code in v1.ExitCode.values() else code
        end = v1.End(exit_code=exit_code, message=message, create_time=_now(), results=self._results)  # type: ignore[arg-type]
        put_record(self.store, f"{self.run}end.json", end)
        return code

    def play(self, acts: Sequence[str]) -> int | None:
        """Plays acts such as `claim`, `adapter`, `end 64`, `exit 1`. The exit code; None if the trainer is to go on."""
        for act in acts:
            verb, _, argument = act.partition(" ")
            match verb:
                case "claim":
                    self.claim()
                case "status":
                    self.status()
                case "adapter":
                    self.adapter(argument or "final")
                case "partial":
                    self.adapter(partial=True)
                case "corrupt":
                    self.adapter(content=CONTENT[::-1])
                case "missing":
                    self.adapter(missing=True)
                case "result":
                    self.result()
                case "spoilt":
                    self.result(content=CONTENT[::-1])
                case "end":
                    return self.end(int(argument or 0))
                case "exit":
                    return int(argument)
                case "work":
                    return None
                case _:
                    raise ValueError(f"unknown act {act!r}")
        return 0


def _now() -> object:
    return to_timestamp(datetime.now(UTC))
