"""Writes what a trainer needs into a local store by hand: a base model, datasets, assignments. No service involved."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.json_format import Parse, ParseDict

from loramill import v1
from store import AlreadyExists, open_store
from store.digests import manifest_digest, sha256_of
from store.records import put_record

JOB = "zzzzzzzzz0000001"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

SMALL_SPEC: dict[str, object] = {
    "base_model": "baseModels/shapes",
    "dataset": {
        "dataset": "datasets/zzzzzzzzz0000000",
        "resolution": 64,
        "subsets": [{"captions": {"source": "CAPTION_SOURCE_FILE"}}],
    },
    "concept": {"activation_tag": "lumi"},
    "adapter": {"type": "ADAPTER_TYPE_LORA", "rank": 4, "alpha": 2, "targets": "ADAPTER_TARGETS_ATTENTION"},
    "unet": {"train": True, "learning_rate": 1e-3},
    "optimization": {
        "steps": 6,
        "batch_size": 2,
        "weight_decay": 0.01,
        "beta1": 0.9,
        "beta2": 0.999,
        "schedule": "SCHEDULE_COSINE",
        "max_gradient_norm": 1,
        "precision": "PRECISION_FP32",
        "seed": 7,
    },
    "previews": {"guidance_scale": 3, "inference_steps": 3, "prompts": [{"prompt": "a red [tag]", "seed": 1}]},
    "checkpoints": {"every_steps": 2},
    "outputs": {"name": "adapter"},
}
"""A resolved spec, as small as they get."""


def merged(spec: dict[str, object], change: dict[str, object]) -> dict[str, object]:
    """`spec` with the fields of `change` in place of its own, at any depth."""
    out = dict(spec)
    for name, value in change.items():
        old = out.get(name)
        out[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return out


def _put_files(root: str, prefix: str, files: dict[str, bytes], *, by_digest: bool) -> v1.FileManifest:
    store = open_store(root + prefix)
    described = []
    for path, content in sorted(files.items()):
        digest = sha256_of(content)
        with suppress(AlreadyExists):  # two captions may be the same bytes
            store.put_new(digest if by_digest else path, content)
        described.append(v1.DatasetFile(path=path, sha256=digest, size_bytes=len(content)))
    return v1.FileManifest(schema_version=1, files=described, digest=manifest_digest(described))


@dataclass(frozen=True)
class Place:
    """A folder that serves as the store of any number of jobs."""

    folder: Path

    @property
    def root(self) -> str:
        return f"file://{self.folder.resolve()}/"

    def put_base(self, name: str, base: Path) -> None:
        """`base` is a folder in the diffusers layout."""
        files = {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}
        manifest = _put_files(self.root, f"bases/{name}/", files, by_digest=False)
        put_record(open_store(self.root), f"bases/{name}/manifest.json", manifest)

    def put_dataset(self, name: str, files: dict[str, bytes]) -> None:
        """`files` are contents by path."""
        manifest = _put_files(self.root, f"datasets/{name}/blobs/", files, by_digest=True)
        put_record(open_store(self.root), f"datasets/{name}/manifest.json", manifest)

    def put_job(
        self,
        name: str,
        change: dict[str, object] | None = None,
        *,
        base: str = "shapes",
        dataset: str = "d",
        caches: str = "caches",
        family: str = "sd15",
        created: datetime = CREATED,
        initial: Path | None = None,
        kind: v1.JobKind.ValueType = v1.JOB_KIND_TRAINING,
        captioning: v1.CaptioningSpec | None = None,
    ) -> str:
        """Launch 1 of a job, ready to be run: its URI. `change` is what the job wants else than SMALL_SPEC.

        `initial` is an adapter's file to go on from.
        """
        manifest = Parse((self.folder / f"bases/{base}/manifest.json").read_text(), v1.FileManifest())
        assignment = v1.Assignment(
            schema_version=1,
            training_job=f"trainingJobs/{JOB}",
            launch=1,
            spec=ParseDict(merged(SMALL_SPEC, change or {}), v1.TrainingSpec()),
            base_model=v1.BaseModel(name=f"baseModels/{base}", family=family, digest=manifest.digest),
            base_model_uri=f"{self.root}bases/{base}/",
            dataset_manifest_uri=f"{self.root}datasets/{dataset}/manifest.json",
            dataset_blobs_uri=f"{self.root}datasets/{dataset}/blobs/",
            control_uri=f"{self.root}{name}/control/",
            runs_uri=f"{self.root}{name}/runs/",
            run_uri=f"{self.root}{name}/runs/1/",
            line_uri=f"{self.root}{name}/line/",
            cache_uri=f"{self.root}{caches}/",
            kind=kind,
            captioning=captioning,
        )
        assignment.job_create_time.FromDatetime(created)
        if initial is not None:
            assignment.initial_adapter_uri = f"file://{initial.resolve()}"
            assignment.initial_adapter_sha256 = sha256_of(initial)
        return put_launch(assignment)


def put_launch(assignment: v1.Assignment) -> str:
    """Records a launch; the URI of its assignment."""
    key = f"launches/{assignment.launch:06d}.json"
    put_record(open_store(assignment.control_uri), key, assignment)
    return assignment.control_uri + key


def write_assignment(
    folder: Path,
    base: Path,
    dataset: dict[str, bytes],
    change: dict[str, object] | None = None,
    *,
    family: str = "sd15",
) -> str:
    """Launch 1 of the only job in a folder, with its base and dataset: its URI."""
    place = Place(folder)
    place.put_base("shapes", base)
    place.put_dataset("d", dataset)
    return place.put_job("job", change, family=family)
