"""Every key and name of the record: built here, parsed here, nowhere else.

<tenant>/requests/<digest of request_id>.json   CreateRecord: the one point at which a job comes to be
<tenant>/dataset-requests/<digest>.json          the same for datasets: DatasetRecord
<tenant>/adapter-requests/<digest>.json          the same for uploaded adapters: AdapterManifest
<tenant>/ended/<job>.<STATE>                     index of ended jobs; rebuilt from the record
<tenant>/adapters/<adapter>                      index of committed adapters -> key of the manifest
<tenant>/jobs/<job>/control/…                    written by the service, read by the trainer
    job.json  launches/<n>.json  starts/<n>.json  ends/<n>.json  cancel.json  outcome.json  tombstone.json
<tenant>/jobs/<job>/runs/<n>/…                   written by launch n alone
    claim.json  status.json  metrics/<k>.json  logs/<k>.jsonl  data-report/…  checkpoints/…  adapters/<name>/…
    previews/<step>/<prompt>.png  previews/<step>/<prompt>-<strength>.png
    end.json
<tenant>/jobs/<job>/line/…                       opened create-only by runs for all runs of the job: generations/<g>.json, …
<tenant>/uploaded-adapters/<adapter>/…           the file, manifest.json (AdapterManifest)
<tenant>/deleted-adapters/<adapter>.json         tombstones of adapters
<tenant>/datasets/<dataset>/…                    dataset.json  files/<digest of path>.json  seal.json  manifest.json
                                                 tombstone.json
<tenant>/datasets/<dataset>/blobs/<sha256>       contents
<tenant>/uploads/<dataset>/<sha256>              contents on their way, sent by callers to presigned addresses; nobody reads them
<tenant>/uploads/<dataset>/<sha256>.<random>     their copies, which no address names, while they are compared
<tenant>/caches/…                                disposable
<tenant>/audit/<id>.json                         AuditRecord, newest first
_shared/bases/<base>/…                           import.json  files/…  files/manifest.json  base.json; for all tenants
_shared/bases/<base>/imports/<n>/…               request.json by the service; status.json  end.json by the import alone
_shared/audit/<id>.json                          changes of what all tenants read
_shared/admission/<n>.json                       AdmissionRecord: what operators hold back; the newest counts
_shared/restores/<digest of the name>.json       RestoreRecord: admission was paused for this restore
_shared/active/<tenant>/<job>                    index of living jobs, of all tenants so that one listing shows them;
                                                 rebuilt from the record, read by the service alone
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

SHARED = "_shared"
"""In a tenant's place for what all tenants read. No tenant can be called so: tenants begin with a letter or digit."""

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts like the numbers it stands for
_TIME_DIGITS, _RANDOM_DIGITS = 9, 7
_LATEST = 32**_TIME_DIGITS - 1
_ID = re.compile(rf"[{_ALPHABET}]{{{_TIME_DIGITS + _RANDOM_DIGITS}}}")
_TENANT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a DNS label: tenants stand in labels of Kubernetes
_BASE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PREVIEW = re.compile(r"([0-9]{7})/([0-9]{2})(?:-([0-9]))?\.png")
_ADAPTER_SUFFIX = re.compile(r"final|[0-9]{6,7}(?:-g[1-9][0-9]?)?|upload")


def new_id(now: datetime) -> str:
    """A new id, 16 characters; later ones sort before earlier ones."""
    remaining = _LATEST - int(now.timestamp() * 1000)
    digits = [_ALPHABET[(remaining >> (5 * place)) & 31] for place in reversed(range(_TIME_DIGITS))]
    return "".join(digits) + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_DIGITS))


def is_base_id(text: str) -> bool:
    return _BASE_ID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    return _TENANT.fullmatch(text) is not None


def is_job_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def job_name(job: str) -> str:
    return f"trainingJobs/{job}"


def dataset_name(dataset: str) -> str:
    return f"datasets/{dataset}"


def base_name(base: str) -> str:
    return f"baseModels/{base}"


def adapter_name(adapter: str) -> str:
    return f"adapters/{adapter}"


def _id_of(collection: str, name: str, pattern: re.Pattern[str]) -> str | None:
    head, _, rest = name.partition("/")
    return rest if head == collection and pattern.fullmatch(rest) else None


def job_of_name(name: str) -> str | None:
    """The id in `trainingJobs/<id>`; None if the name is not of that form."""
    return _id_of("trainingJobs", name, _ID)


def dataset_of_name(name: str) -> str | None:
    return _id_of("datasets", name, _ID)


def base_of_name(name: str) -> str | None:
    return _id_of("baseModels", name, _BASE_ID)


def adapter_of_name(name: str) -> str | None:
    """The id in `adapters/<job>-<final | step | step-g<generation>>` or `adapters/<id>-upload`; None if the name is not of these
    forms."""
    head, _, adapter = name.partition("/")
    job, _, suffix = adapter.partition("-")
    if head == "adapters" and _ID.fullmatch(job) and _ADAPTER_SUFFIX.fullmatch(suffix):
        return adapter
    return None


def job_of_adapter(adapter: str) -> str:
    """The id of its job; of an uploaded one an id that no job has."""
    return adapter.partition("-")[0]


def new_uploaded_adapter(now: datetime) -> str:
    """The id of an adapter that is uploaded now; later ones sort before earlier ones, among those of jobs too."""
    return f"{new_id(now)}-upload"


_WRITTEN_ONCE = re.compile(
    r"[^/]+/jobs/[^/]+/control/(?:(?:job|cancel|outcome)\.json|(?:launches|starts|ends)/\d+\.json)"
    r"|[^/]+/jobs/[^/]+/runs/\d+/(?:(?:claim|end)\.json|adapters/[^/]+/manifest\.json)"
    r"|[^/]+/jobs/[^/]+/line/generations/\d+\.json"
    r"|[^/]+/datasets/[^/]+/(?:dataset|seal|manifest)\.json"
    rf"|{SHARED}/bases/[^/]+/base\.json"
)


def is_written_once(key: str) -> bool:
    """Whether it is the key of a record that is written create-only, and has a tombstone beside it before it is removed (base
    models never are). Not of tombstones themselves."""
    return _WRITTEN_ONCE.fullmatch(key) is not None


def digest_of_path(path: str) -> str:
    """Stands for a dataset file's path in keys: a path is a label of up to 1000 bytes."""
    return hashlib.sha256(path.encode()).hexdigest()


def number_of(key: str) -> int:
    """The number in a key such as `…/launches/3.json` or `…/metrics/000004.json`."""
    return int(key.rpartition("/")[2].partition(".")[0])


def part_after(prefix: str, key: str) -> str:
    """The part of a key that follows a prefix, up to the next `/`: the id in a listing."""
    return key[len(prefix) :].partition("/")[0]


def job_of_ended(key: str) -> tuple[str, str]:
    """Job and state, such as `SUCCEEDED`, of a key of the index of ended jobs."""
    job, _, state = key.rpartition("/")[2].partition(".")
    return job, state


def audit_prefix(tenant: str) -> str:
    """`tenant` may be SHARED."""
    return f"{tenant}/audit/"


def audit(tenant: str, record: str) -> str:
    """`tenant` may be SHARED."""
    return f"{audit_prefix(tenant)}{record}.json"


@dataclass(frozen=True)
class TenantKeys:
    """The keys of one tenant."""

    tenant: str

    def __post_init__(self) -> None:
        if not is_tenant(self.tenant):
            raise ValueError(
                f"tenant {self.tenant!r} must be 1 to 63 lower-case letters, digits and '-', not first or last"
            )

    @property
    def root(self) -> str:
        return f"{self.tenant}/"

    def request(self, request_id: str) -> str:
        return f"{self.tenant}/requests/{hashlib.sha256(request_id.encode()).hexdigest()}.json"

    def dataset_request(self, request_id: str) -> str:
        return f"{self.tenant}/dataset-requests/{hashlib.sha256(request_id.encode()).hexdigest()}.json"

    def adapter_request(self, request_id: str) -> str:
        return f"{self.tenant}/adapter-requests/{hashlib.sha256(request_id.encode()).hexdigest()}.json"

    @property
    def requests_prefix(self) -> str:
        return f"{self.tenant}/requests/"

    @property
    def dataset_requests_prefix(self) -> str:
        return f"{self.tenant}/dataset-requests/"

    @property
    def adapter_requests_prefix(self) -> str:
        return f"{self.tenant}/adapter-requests/"

    @property
    def deleted_adapters_prefix(self) -> str:
        return f"{self.tenant}/deleted-adapters/"

    @property
    def jobs_prefix(self) -> str:
        return f"{self.tenant}/jobs/"

    @property
    def active_prefix(self) -> str:
        return f"{ACTIVE_PREFIX}{self.tenant}/"

    def active(self, job: str) -> str:
        return f"{self.active_prefix}{job}"

    @property
    def ended_prefix(self) -> str:
        return f"{self.tenant}/ended/"

    def ended(self, job: str, state: str) -> str:
        """`state` as in the proto, without its prefix: `SUCCEEDED`."""
        return f"{self.ended_prefix}{job}.{state}"

    @property
    def adapters_prefix(self) -> str:
        return f"{self.tenant}/adapters/"

    def adapter(self, adapter: str) -> str:
        return f"{self.adapters_prefix}{adapter}"

    def adapters_of(self, job: str) -> str:
        """Prefix of the adapters of one job in the index."""
        return f"{self.adapters_prefix}{job}-"

    def uploaded_adapter(self, adapter: str) -> UploadedAdapterKeys:
        return UploadedAdapterKeys(f"{self.tenant}/uploaded-adapters/{adapter}/")

    def deleted_adapter(self, adapter: str) -> str:
        return f"{self.tenant}/deleted-adapters/{adapter}.json"

    def promotions_of(self, job: str) -> str:
        """Prefix of the promotions of a job's adapters, which outlive it as they do."""
        return f"{self.tenant}/promotions/{job}/"

    def promotion(self, job: str, number: int) -> str:
        return f"{self.promotions_of(job)}{number:06d}.json"

    @property
    def datasets_prefix(self) -> str:
        return f"{self.tenant}/datasets/"

    @property
    def uploads_prefix(self) -> str:
        return f"{self.tenant}/uploads/"

    def upload(self, dataset: str, sha256: str) -> str:
        """Where a caller sends a content to. Not below its dataset, which trainers read."""
        return f"{self.uploads_prefix}{dataset}/{sha256}"

    @property
    def caches(self) -> str:
        return f"{self.tenant}/caches/"

    def job(self, job: str) -> JobKeys:
        return JobKeys(f"{self.tenant}/jobs/{job}/")

    def dataset(self, dataset: str) -> DatasetKeys:
        return DatasetKeys(f"{self.datasets_prefix}{dataset}/")


@dataclass(frozen=True)
class JobKeys:
    """The keys of one job."""

    root: str

    @property
    def control(self) -> str:
        return f"{self.root}control/"

    @property
    def record(self) -> str:
        return f"{self.control}job.json"

    @property
    def launches_prefix(self) -> str:
        return f"{self.control}launches/"

    def launch(self, number: int) -> str:
        return f"{self.launches_prefix}{number:06d}.json"

    def start(self, number: int) -> str:
        """How the pod of a launch came to run."""
        return f"{self.control}starts/{number:06d}.json"

    def seen_end(self, number: int) -> str:
        """How a launch ended whose run left no word."""
        return f"{self.control}ends/{number:06d}.json"

    @property
    def cancel(self) -> str:
        return f"{self.control}cancel.json"

    @property
    def outcome(self) -> str:
        return f"{self.control}outcome.json"

    @property
    def tombstone(self) -> str:
        return f"{self.control}tombstone.json"

    @property
    def runs(self) -> str:
        return f"{self.root}runs/"

    @property
    def line(self) -> str:
        return f"{self.root}line/"

    @property
    def generations_prefix(self) -> str:
        return f"{self.line}generations/"

    def generation(self, number: int) -> str:
        """Opened by the run that was taken back; `number` from 1."""
        return f"{self.generations_prefix}{number:06d}.json"

    def part_of_run(self, key: str) -> str:
        """What a key below a run belongs to, such as `checkpoints`; empty for keys elsewhere in the job."""
        if not key.startswith(self.runs):
            return ""
        return key[len(self.runs) :].partition("/")[2].partition("/")[0]

    def run(self, number: int) -> RunKeys:
        return RunKeys(f"{self.runs}{number}/")


@dataclass(frozen=True)
class RunKeys:
    """The keys of one run, as the service reads them; only the run writes here."""

    root: str

    @property
    def claim(self) -> str:
        return f"{self.root}claim.json"

    @property
    def status(self) -> str:
        return f"{self.root}status.json"

    @property
    def metrics_prefix(self) -> str:
        return f"{self.root}metrics/"

    @property
    def logs_prefix(self) -> str:
        return f"{self.root}logs/"

    @property
    def previews_prefix(self) -> str:
        return f"{self.root}previews/"

    def preview_of(self, key: str) -> tuple[int, int, int | None] | None:
        """Step, place of the prompt and of the strength in the spec (None: the plain preview) of a picture below
        `previews_prefix`; None for what is none."""
        found = _PREVIEW.fullmatch(key[len(self.previews_prefix) :])
        return None if found is None else (int(found[1]), int(found[2]), int(found[3]) if found[3] else None)

    def data_report(self, name: str) -> str:
        """What the run found in its dataset: `report.txt`, `report.json` or `report.html`."""
        return f"{self.root}data-report/{name}"

    @property
    def adapters_prefix(self) -> str:
        return f"{self.root}adapters/"

    def adapter_manifest(self, suffix: str) -> str:
        """`suffix` is the part of the adapter's id after the job: `final`, or the step in six digits, and `-g<generation>` behind
        it unless that is 0."""
        return f"{self.adapters_prefix}{suffix}/manifest.json"

    @property
    def end(self) -> str:
        return f"{self.root}end.json"


@dataclass(frozen=True)
class UploadedAdapterKeys:
    """The keys of one adapter that was uploaded."""

    root: str

    @property
    def manifest(self) -> str:
        return f"{self.root}manifest.json"

    def file(self, file_name: str) -> str:
        return f"{self.root}{file_name}"


@dataclass(frozen=True)
class DatasetKeys:
    """The keys of one dataset."""

    root: str

    @property
    def record(self) -> str:
        return f"{self.root}dataset.json"

    @property
    def files_prefix(self) -> str:
        return f"{self.root}files/"

    def file(self, path: str) -> str:
        return f"{self.files_prefix}{digest_of_path(path)}.json"

    @property
    def blobs(self) -> str:
        return f"{self.root}blobs/"

    def blob(self, sha256: str) -> str:
        return f"{self.blobs}{sha256}"

    @property
    def seal(self) -> str:
        return f"{self.root}seal.json"

    @property
    def manifest(self) -> str:
        return f"{self.root}manifest.json"

    @property
    def tombstone(self) -> str:
        return f"{self.root}tombstone.json"


@dataclass(frozen=True)
class BaseKeys:
    """The keys of one base model."""

    base: str

    @property
    def root(self) -> str:
        return f"{SHARED}/bases/{self.base}/"

    @property
    def claim(self) -> str:
        """Binds the id to one content before any file is stored."""
        return f"{self.root}import.json"

    @property
    def record(self) -> str:
        """Written last: the base model is complete."""
        return f"{self.root}base.json"

    @property
    def files(self) -> str:
        return f"{self.root}files/"

    @property
    def manifest(self) -> str:
        return f"{self.files}manifest.json"

    @property
    def imports_prefix(self) -> str:
        return f"{self.root}imports/"

    def import_(self, number: int) -> BaseImportKeys:
        return BaseImportKeys(f"{self.imports_prefix}{number:06d}/")

    def number_of_import(self, key: str) -> int:
        """Which import a key below `imports_prefix` belongs to."""
        return int(part_after(self.imports_prefix, key))


@dataclass(frozen=True)
class BaseImportKeys:
    """The keys of one import of a base model."""

    root: str

    @property
    def request(self) -> str:
        return f"{self.root}request.json"

    @property
    def status(self) -> str:
        return f"{self.root}status.json"

    @property
    def end(self) -> str:
        return f"{self.root}end.json"


BASES_PREFIX = f"{SHARED}/bases/"
ACTIVE_PREFIX = f"{SHARED}/active/"
ADMISSION_PREFIX = f"{SHARED}/admission/"


_DISPOSABLE = re.compile(r"[^/]+/(?:caches|uploads)/.*")


def is_disposable(prefix: str) -> bool:
    """Whether all keys below the prefix can be made again, or are nobody's yet."""
    return _DISPOSABLE.fullmatch(prefix) is not None


def restore(name: str) -> str:
    """That admission was paused for the restore that an operator calls so."""
    return f"{SHARED}/restores/{hashlib.sha256(name.encode()).hexdigest()}.json"


def admission(number: int) -> str:
    """What an operator has set, the `number`-th of its kind, from 1."""
    return f"{ADMISSION_PREFIX}{number:08d}.json"
