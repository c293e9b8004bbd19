"""Which adapters of a job end in a line of steps that was given up: training diverged behind them and was taken back."""

from __future__ import annotations

from dataclasses import dataclass, field

from loramill import v1
from service import keys
from service.verification import is_final
from store.object_store import ObjectStore
from store.records import read_record


@dataclass(frozen=True)
class Generations:
    """The generations of jobs, each read once. Synchronous: called in threads."""

    store: ObjectStore
    tenant: str
    _read: dict[str, v1.Generation | None] = field(default_factory=dict)

    def gave_up(self, adapter: v1.Adapter) -> bool:
        """Whether a later generation of its job begins before it. The final adapter is always that of the last one."""
        if not adapter.training_job or is_final(adapter):
            return False
        job = keys.TenantKeys(self.tenant).job(adapter.training_job.partition("/")[2])
        key = job.generation(adapter.generation + 1)
        if key not in self._read:
            self._read[key] = read_record(self.store, key, v1.Generation)
        following = self._read[key]
        return following is not None and adapter.step > following.from_step
