"""The Go programs of the cluster, each built once and kept in the cache under the digest of what it is built from."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.commands import run
from deploy.cluster.errors import ClusterError
from deploy.cluster.paths import CACHE

KUBERNETES_VERSION = "v1.34.4"
VERSITYGW_VERSION = "v1.8.0"
COREDNS_VERSION = "v1.12.1"
PROMETHEUS_VERSION = "v0.316.0"
"""Of the module: 3.16.0 of the program."""
KARPENTER_VERSION = "v1.8.2"

_MODULE = Path(__file__).with_name("kubernetes")
_VERSION = "k8s.io/component-base/version"
_KUBERNETES_LINKING = (
    f"-s -w -X {_VERSION}.gitVersion={KUBERNETES_VERSION} -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
)
# The same for every program: other compiler flags would compile their shared packages once more.
_FLAGS = ("-buildvcs=false", "-trimpath")
_ENVIRONMENT = {"CGO_ENABLED": "0"}


@dataclass(frozen=True)
class Program:
    """A Go program: a package of the module beside this file, or `package@version` of a published one."""

    name: str
    package: str
    linking: str = "-s -w"
    sources: Sequence[Path] = ()
    tags: Sequence[str] = ()
    """Build tags."""


KUBERNETES = Program(
    "kubernetes", ".", _KUBERNETES_LINKING, tuple(_MODULE / name for name in ("go.mod", "go.sum", "main.go"))
)
PAUSE = Program("pause", "./pause", sources=(_MODULE / "go.mod", _MODULE / "pause" / "main.go"))
VERSITYGW = Program("versitygw", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW_VERSION}")
COREDNS = Program("coredns", f"github.com/coredns/coredns@{COREDNS_VERSION}")
# Of all the places that it can find its targets in, Kubernetes alone.
_DISCOVERY = ("remove_all_sd", "enable_kubernetes_sd")
PROMETHEUS, PROMTOOL = (
    Program(name, f"github.com/prometheus/prometheus/cmd/{name}@{PROMETHEUS_VERSION}", tags=_DISCOVERY)
    for name in ("prometheus", "promtool")
)
KARPENTER = Program("kwok", f"sigs.k8s.io/karpenter/kwok@{KARPENTER_VERSION}")
"""With the provider whose machines are Node objects and nothing else."""

PROGRAMS = (KUBERNETES, PAUSE, VERSITYGW, COREDNS)
"""What the cluster itself is made of."""
PROGRAMS_OF_TESTS = (PROMETHEUS, PROMTOOL, KARPENTER)


def binary(program: Program) -> Path:
    """Where the program lies once it is built."""
    made_by = (program.package, program.linking, _FLAGS, sorted(_ENVIRONMENT.items()), *program.tags)
    digest = hashlib.sha256(repr(made_by).encode())
    for source in program.sources:
        digest.update(hashlib.sha256(source.read_bytes()).digest())
    return CACHE / "bin" / digest.hexdigest()[:16] / program.name


def build(programs: Sequence[Program] = PROGRAMS) -> None:
    """Builds those of the programs that the cache lacks: some minutes the first time.

    Raises:
        ClusterError: a build is needed and Go is not there, or it fails.
    """
    missing = [program for program in programs if not binary(program).exists()]
    if missing and shutil.which("go") is None:
        names = ", ".join(program.name for program in missing)
        raise ClusterError(f"Go 1.24 or newer is needed to build {names}; install it and put `go` on the PATH.")
    for program in missing:
        _build(program, binary(program))


def _build(program: Program, target: Path) -> None:
    """Into a temporary of the same file system, then moved: a stopped build leaves nothing that looks like a program."""
    target.parent.mkdir(parents=True, exist_ok=True)
    flags = [*_FLAGS, "-ldflags", program.linking]
    if program.tags:
        flags += ["-tags", ",".join(program.tags)]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        if program.sources:
            command = ["go", "build", *flags, "-o", f"{folder}/{program.name}", program.package]
        else:
            command = ["go", "install", *flags, program.package]
        run(command, environment={**_ENVIRONMENT, "GOBIN": folder}, folder=_MODULE)
        (Path(folder) / program.name).rename(target)
