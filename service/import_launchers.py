"""Which imports the service carries out itself, and which are Jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from loramill import v1
from service.import_threads import ImportThreads
from service.importing.launching import ImportLauncher, Seen
from service.importing.settings import ImportSettings
from service.importing.work import workshop
from service.platforms import Platform

_FILE = "file://"


def import_threads(platform: Platform, folder: Path) -> ImportThreads:
    """`folder` is of this machine, for what imports fetch."""
    alone = platform.import_jobs is None
    return ImportThreads(workshop(platform.store, folder.absolute(), platform.imports), alone=alone)


def import_launcher(platform: Platform, threads: ImportThreads) -> ImportLauncher:
    jobs = platform.import_jobs
    return threads if jobs is None else _Split(threads, jobs.launcher)


def allowed_imports(platform: Platform) -> ImportSettings:
    """What may be imported by either."""
    jobs = platform.import_jobs
    return platform.imports if jobs is None else replace(jobs.settings, folders=platform.imports.folders)


@dataclass(frozen=True)
class _Split:
    """What lies in the service's own file system is imported by itself, all else by Jobs."""

    own: ImportLauncher
    jobs: ImportLauncher

    def start(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> None:
        self._of(request).start(base, number, request)

    def observe(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> Seen:
        return self._of(request).observe(base, number, request)

    def _of(self, request: v1.ImportBaseModelRequest) -> ImportLauncher:
        return self.own if request.source_uri.startswith(_FILE) else self.jobs
