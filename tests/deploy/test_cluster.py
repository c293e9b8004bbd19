"""The local cluster's parts that need no cluster: processes, certificates, builds, and what it says where it cannot run."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from deploy.cluster import certificates, go_builds, node, processes, requirements
from deploy.cluster.errors import ClusterError
from deploy.cluster.processes import Process


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Process]:
    """Starts processes in the machine's own network; their records and logs are the test's."""
    monkeypatch.setattr(processes, "INSIDE", ())
    monkeypatch.setattr(processes, "_RECORDS", tmp_path / "processes")
    monkeypatch.setattr(processes, "_LOGS", tmp_path / "logs")
    return lambda script: processes.start("sleeper", ["sh", "-c", script])


def test_a_process_ends_by_its_id_and_starts_again_as_it_was(started: Callable[..., Process]) -> None:
    first = started("exec sleep 60")
    assert first.is_alive()
    second = processes.restart("sleeper")
    assert (first.is_alive(), second.is_alive()) == (False, True)
    assert processes.all_recorded() == [second]
    assert second.command == first.command
    processes.stop("sleeper")
    assert not second.is_alive()


def test_a_process_that_ignores_the_request_to_end_is_killed(
    started: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_STOP_SECONDS", 0.2)
    process = started("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    processes.wait_until(lambda: "ready" in process.log.read_text(), 10, "no word")
    processes.stop("sleeper")
    assert not process.is_alive()


def test_a_stopped_process_can_be_ended(started: Callable[..., Process]) -> None:
    process = started("exec sleep 60")
    process.signal(signal.SIGSTOP)
    processes.stop("sleeper")
    assert not process.is_alive()


def test_an_id_that_was_given_anew_is_no_process_of_ours(started: Callable[..., Process]) -> None:
    process = started("exec sleep 60")
    other = replace(process, start_time=process.start_time + 1)
    assert not other.is_alive()
    other.signal(signal.SIGKILL)
    assert process.is_alive()
    processes.stop("sleeper")


def test_what_does_not_come_is_told_with_the_last_words(started: Callable[..., Process]) -> None:
    process = started("echo no such port; exit 3")
    with pytest.raises(ClusterError, match=r"It does not answer: its process has ended\.(.|\n)*no such port"):
        processes.wait_until(lambda: False, 10, "It does not answer", process)
    with pytest.raises(ClusterError, match=r"has no process 'etcd'; it has: sleeper"):
        processes.recorded("etcd")


def test_each_node_has_its_own_name_and_is_in_no_other_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "CERTIFICATES", tmp_path)
    monkeypatch.setattr(certificates, "CA", tmp_path / "ca.crt")
    monkeypatch.setattr(certificates, "KUBECONFIG", tmp_path / "kubeconfig")
    certificates.issue()
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    for each in node.NODES:
        certificate = x509.load_pem_x509_certificate((tmp_path / f"{each.name}.crt").read_bytes())
        certificate.verify_directly_issued_by(authority)
        subject = {attribute.oid: attribute.value for attribute in certificate.subject}
        assert subject == {
            NameOID.COMMON_NAME: f"system:node:{each.name}",
            NameOID.ORGANIZATION_NAME: "system:nodes",
        }
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == [each.address]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (*tmp_path.glob("*.key"), tmp_path / "kubeconfig"))
    assert json.loads((tmp_path / "kubeconfig").read_text())["current-context"] == "loramill"


@pytest.mark.parametrize("of", ["name", "address", "pod_network", "socket", "images", "cgroup", "capacity"])
def test_nodes_share_nothing(of: str) -> None:
    assert len({getattr(each, of) for each in node.NODES}) == len(node.NODES)


def test_a_program_is_built_anew_where_its_sources_or_its_linking_differ(tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    source.write_text("package main")
    program = go_builds.Program("p", ".", sources=(source,))
    first = go_builds.binary(program)
    assert go_builds.binary(replace(program, linking="-s")) != first
    assert go_builds.binary(program) == first
    source.write_text("package main // changed")
    assert go_builds.binary(program) != first


def test_without_go_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go_builds, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match=r"^Go 1\.24 or newer is needed to build kubernetes, .*; install it"):
        go_builds.build()


def test_where_it_cannot_run_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_effective_capabilities", lambda: 1 << 12)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(ClusterError, match="lacks CAP_SYS_ADMIN here"):
        requirements.check()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="needs root"):
        requirements.check()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ClusterError, match="needs Linux"):
        requirements.check()
