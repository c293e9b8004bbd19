"""New datasets of the files of another one and the captions that a job wrote for it. Synchronous: called in threads.

Datasets never change, so that captions become part of a new one, once somebody has looked through them. What broke off goes on
with the same request: files that are in the new dataset already are not copied again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from loramill import v1
from service import keys
from service.caller import Caller
from service.captioning_requests import without_caption
from service.dataset_checks import violations_of_opening
from service.datasets import Datasets, dataset_id, no_dataset
from service.errors import Damaged, InvalidRequest, Refused, Violation
from service.job_results import JobResults
from service.jobs import job_id
from store.digests import sha256_of
from store.object_store import ObjectStore
from store.records import read_record

CAPTIONS = "captions/captions.jsonl"
"""What a job that captions has made: a JSON object a line, with `path` and `caption`."""
_LARGEST = 64 << 20
_MOST_CHANGED, _LONGEST_CAPTION = 10_000, 10_000


@dataclass(frozen=True)
class CaptionedDatasets:
    """Makes datasets of what jobs that caption have left."""

    store: ObjectStore
    datasets: Datasets
    results: JobResults
    staging: Path
    """For copies on their way."""

    def create(self, caller: Caller, request: v1.CreateDatasetRequest) -> v1.Dataset:
        """The finalized dataset. Raises InvalidRequest with everything that is wrong, Refused for a job that has no captions or
        whose dataset is gone, and as `Datasets.create`."""
        found = violations_of_opening(request)
        found += [
            Violation(
                f"dataset.{name}",
                f"dataset.{name} is set beside captioning_job, but is made; leave it out.",
                "CONFLICT",
            )
            for name in ("input", "suggested")
            if request.dataset.HasField(name)
        ]
        found += _of_captions(request.captions)
        if found:
            raise InvalidRequest(found)
        done = self.datasets.opened_by(caller, request.request_id)
        if (
            done is not None
            and done.state == v1.DATASET_STATE_FINALIZED
            and request.captioning_job in done.input.source
        ):
            return done
        job = self._job(caller.tenant, request.captioning_job)
        written, original = self._written(caller.tenant, job.name), dataset_id(job.spec.dataset.dataset)
        manifest = read_record(self.store, keys.TenantKeys(caller.tenant).dataset(original).manifest, v1.FileManifest)
        before = self.datasets.find(caller.tenant, original)
        if before is None or manifest is None:
            raise no_dataset(original)
        captions = _merged(written, request.captions)
        bare = without_caption([file.path for file in manifest.files])
        asked = _described(request, before, [path for path in bare if captions.get(path)], len(bare))
        opened = self.datasets.create(caller, v1.CreateDatasetRequest(dataset=asked, request_id=request.request_id))
        for file in manifest.files:
            self._copy(caller, original, dataset_id(opened.name), file)
        # Of pictures that differ in their extension only, and so share their caption, the first one's counts.
        texts = {
            str(PurePosixPath(path).with_suffix(".txt")): captions[path]
            for path in reversed(bare)
            if captions.get(path)
        }
        for path, caption in texts.items():
            self._add(caller, dataset_id(opened.name), path, caption)
        return self.datasets.finalize(caller, dataset_id(opened.name))

    def _job(self, tenant: str, name: str) -> v1.TrainingJob:
        """A job that has captioned. Raises Refused for any other, and ResourceNotFound."""
        job = self.results.jobs.get(tenant, job_id(name, "captioning_job"))
        if job.kind != v1.JOB_KIND_CAPTIONING:
            raise Refused(f"{name} does not caption; name a job that CaptionDataset made.", "NO_CAPTIONS")
        if job.state != v1.TRAINING_JOB_STATE_SUCCEEDED:
            raise Refused(f"{name} has not succeeded; wait until it has, or caption the dataset again.", "NO_CAPTIONS")
        return job

    def _written(self, tenant: str, job: str) -> dict[str, str]:
        """The captions of a job by the path of their picture. Raises Damaged."""
        stored = self.results.file(tenant, v1.DownloadResultRequest(name=job, path=CAPTIONS))
        if stored.file.size_bytes > _LARGEST:
            raise Refused(f"The captions of {job} have more than {_LARGEST} bytes; caption fewer pictures at once.")
        try:
            rows = [json.loads(line) for line in b"".join(self.results.pieces(stored)).decode().splitlines()]
            return {str(row["path"]): str(row["caption"]) for row in rows}
        except (ValueError, TypeError, KeyError) as error:
            raise Damaged(f"{CAPTIONS} of {job} is not as it was written; caption the dataset again.") from error

    def _copy(self, caller: Caller, original: str, dataset: str, file: v1.DatasetFile) -> None:
        blob = keys.TenantKeys(caller.tenant).dataset(original).blob(file.sha256)

        def put(key: str) -> None:
            with self._staged() as path:
                self.store.fetch(blob, path)
                self.store.put_new(key, path)

        self.datasets.add(caller, dataset, file, put)

    def _add(self, caller: Caller, dataset: str, path: str, caption: str) -> None:
        content = f"{caption}\n".encode()
        file = v1.DatasetFile(path=path, sha256=sha256_of(content), size_bytes=len(content))
        self.datasets.add(caller, dataset, file, lambda key: self.store.put_new(key, content))

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.staging, prefix="captioned-") as folder:
            yield Path(folder) / "content"


def _merged(written: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """On one line each. Raises InvalidRequest for pictures that the job wrote nothing for."""
    unknown = sorted(set(changed) - set(written))
    if unknown:
        raise InvalidRequest(
            [
                Violation(
                    "captions",
                    f"captions has {path[:200]!r}, for which the job wrote none; give paths as captions.jsonl has them.",
                    "RESOURCE_NOT_FOUND",
                )
                for path in unknown[:100]
            ]
        )
    return {path: " ".join(caption.split()) for path, caption in {**written, **changed}.items()}


def _of_captions(captions: Mapping[str, str]) -> list[Violation]:
    found = []
    if len(captions) > _MOST_CHANGED:
        text = f"captions has {len(captions)} entries, but must have at most {_MOST_CHANGED}; send only those that changed."
        found.append(Violation("captions", text))
    longest = max(captions, key=lambda path: len(captions[path]), default="")
    if longest and len(captions[longest]) > _LONGEST_CAPTION:
        text = (
            f"captions has one of {len(captions[longest])} characters for {longest[:200]!r}, but must have at most "
            f"{_LONGEST_CAPTION}; shorten it."
        )
        found.append(Violation("captions", text))
    return found


def _described(request: v1.CreateDatasetRequest, before: v1.Dataset, captioned: list[str], bare: int) -> v1.Dataset:
    """What the new dataset says of itself."""
    described = v1.Dataset(display_name=request.dataset.display_name or before.display_name)
    described.input.CopyFrom(before.input)
    described.input.source = f"{before.name}, captioned by {request.captioning_job}"
    described.input.captions += len(captioned)
    described.input.notes.append(f"{len(captioned)} of {bare} pictures without a caption got one from a model.")
    for subset in described.input.subsets:
        subset.captioned += sum(path.startswith(subset.path_prefix) for path in captioned)
    if before.HasField("suggested"):
        described.suggested.CopyFrom(before.suggested)
    return described
