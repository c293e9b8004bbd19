"""Imports as a service in local mode carries them out, without the service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from service.audit import Audit
from service.base_imports import BaseImports
from service.bases import Bases
from service.import_states import ImportStates
from service.import_threads import ImportThreads
from service.importing.family_configs import FamilyConfigs, read_families
from service.importing.settings import ImportSettings
from service.importing.work import Workshop
from store.object_store import ObjectStore


def imports_of(
    store: ObjectStore,
    folder: Path,
    settings: ImportSettings,
    families: Mapping[str, FamilyConfigs] | None = None,
    answer_s: float = 120.0,
) -> BaseImports:
    """`families` are the configurations that single-file checkpoints are read by: the published ones by default."""
    threads = ImportThreads(Workshop(store, folder, settings, families or read_families()), alone=True)
    bases = Bases(store, ImportStates(store, threads))
    return BaseImports(store, bases, threads, Audit(store), settings, answer_s=answer_s)
