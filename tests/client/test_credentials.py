"""How the client proves who it is, and to whom it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from loramill import errors, v1
from loramill.client import Client
from loramill.credentials import Credentials
from loramill.v1 import base_model_service_pb2_grpc, training_service_pb2_grpc
from tests.client.conftest import Loramill
from tests.service.auth.authority import Authority

VARIABLES = ("TOKEN", "TOKEN_FILE", "TLS", "CA", "CERT", "KEY", "TENANT", "INSECURE_TOKEN")


@pytest.fixture(autouse=True)
def nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"LORAMILL_{name}", raising=False)


class Asking(base_model_service_pb2_grpc.BaseModelServiceServicer, training_service_pb2_grpc.TrainingServiceServicer):
    """Notes what calls carry, and refuses as it is told to."""

    def __init__(self) -> None:
        self.carried: list[dict[str, str]] = []
        self.refuse: dict[int, tuple[grpc.StatusCode, str]] = {}
        """Code and reason of the n-th call's end."""
        self.before_end: Callable[[], None] = lambda: None

    def ListBaseModels(self, _request, context):
        self._note(context)
        self._end(context)
        return v1.ListBaseModelsResponse()

    def WatchTrainingJob(self, _request, context):
        self._note(context)
        number = len(self.carried)
        state = v1.TRAINING_JOB_STATE_RUNNING if number in self.refuse else v1.TRAINING_JOB_STATE_SUCCEEDED
        yield v1.WatchTrainingJobResponse(training_job=v1.TrainingJob(state=state))
        self._end(context)

    def _note(self, context) -> None:
        self.carried.append({key: value for key, value in context.invocation_metadata() if key != "user-agent"})

    def _end(self, context) -> None:
        if len(self.carried) not in self.refuse:
            return
        self.before_end()
        code, reason = self.refuse[len(self.carried)]
        detail = any_pb2.Any()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason))
        status = status_pb2.Status(code=code.value[0], message=f"It is {reason}.", details=[detail])
        context.abort_with_status(rpc_status.to_status(status))


AUTHORITY, STRANGER = Authority("service"), Authority("stranger")


class Servers:
    """One service behind three ports of loopback."""

    def __init__(self, folder: Path) -> None:
        self.asking = Asking()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4))
        base_model_service_pb2_grpc.add_BaseModelServiceServicer_to_server(self.asking, self._server)
        training_service_pb2_grpc.add_TrainingServiceServicer_to_server(self.asking, self._server)
        pair = AUTHORITY.server()
        tls = grpc.ssl_server_credentials([(pair.key, pair.certificate)])
        mutual = grpc.ssl_server_credentials([(pair.key, pair.certificate)], AUTHORITY.certificate, True)
        self.plain = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.tls = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', tls)}"
        self.mutual = f"127.0.0.1:{self._server.add_secure_port('127.0.0.1:0', mutual)}"
        own = AUTHORITY.issue("robot")
        for name, content in {
            "ca.crt": AUTHORITY.certificate,
            "other.crt": STRANGER.certificate,
            "own.crt": own.certificate,
            "own.key": own.key,
            "token": b"from-a-file\n",
        }.items():
            (folder / name).write_bytes(content)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    yield servers
    servers.stop()


def test_each_call_carries_token_and_tenant_and_reads_the_file_anew(servers: Servers, tmp_path: Path) -> None:
    credentials = Credentials(token_file=tmp_path / "token", ca=tmp_path / "ca.crt", tenant="team")
    with Client(servers.tls, credentials=credentials) as client:
        list(client.list_bases())
        (tmp_path / "token").write_text("renewed")
        list(client.list_bases())
    tokens = [carried["authorization"] for carried in servers.asking.carried]
    assert tokens == ["Bearer from-a-file", "Bearer renewed"]
    assert [carried["x-loramill-tenant"] for carried in servers.asking.carried] == ["team", "team"]


def test_without_credentials_nothing_is_carried(servers: Servers) -> None:
    with Client(servers.plain) as client:
        list(client.list_bases())
    assert not {"authorization", "x-loramill-tenant"} & set(servers.asking.carried[0])


def test_a_client_certificate_is_shown(servers: Servers, tmp_path: Path) -> None:
    own = Credentials(ca=tmp_path / "ca.crt", certificate=tmp_path / "own.crt", key=tmp_path / "own.key")
    with Client(servers.mutual, credentials=own) as client:
        list(client.list_bases())
    with (
        Client(servers.mutual, credentials=Credentials(ca=tmp_path / "ca.crt")) as client,
        pytest.raises(errors.Unreachable, match="--cert"),
    ):
        list(client.list_bases())


@pytest.mark.parametrize(
    ("port", "credentials", "told"),
    [
        ("tls", {"ca": "other.crt"}, "--ca"),
        ("tls", {}, "--tls"),
        ("plain", {"ca": "ca.crt"}, "does not speak TLS"),
    ],
)
def test_a_service_that_is_not_trusted_gets_no_token(
    servers: Servers, tmp_path: Path, port: str, credentials: dict[str, str], told: str
) -> None:
    paths = {name: tmp_path / file for name, file in credentials.items()}
    with (
        Client(getattr(servers, port), credentials=Credentials(token="canary", **paths)) as client,
        pytest.raises(errors.Unreachable, match=told) as raised,
    ):
        list(client.list_bases())
    assert "canary" not in str(raised.value)
    assert not servers.asking.carried


@pytest.mark.parametrize(
    "address", ["10.0.0.1:50051", "loramill.example:50051", "[2001:db8::1]:50051", "0.0.0.0:50051"]
)
def test_a_token_never_leaves_this_machine_without_tls_unless_that_is_said(address: str, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    (tmp_path / "token").write_text("canary")
    for credentials in (Credentials(token="canary"), Credentials(token_file=tmp_path / "token")):
        with pytest.raises(errors.CredentialsError, match=r"--insecure-token") as raised:
            Client(address, credentials=credentials)
        assert "canary" not in str(raised.value)
    for credentials in (
        Credentials(),
        Credentials(token="canary", insecure_token=True),
        Credentials(token="canary", tls=True),
        Credentials(token="canary", ca=tmp_path / "ca.crt"),
    ):
        Client(address, credentials=credentials).close()


def test_a_token_is_in_no_text_about_its_credentials() -> None:
    assert "canary" not in repr(Credentials(token="canary"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"token": "a", "token_file": Path("b")}, "leave one"),
        ({"certificate": Path("a")}, "give both"),
        ({"key": Path("a")}, "give both"),
    ],
)
def test_what_cannot_be_meant(given: dict, told: str) -> None:
    with pytest.raises(errors.CredentialsError, match=told):
        Credentials(**given)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read"), ("\n", "holds no token"), ("a\nb", "line breaks")]
)
def test_a_token_file_that_cannot_be_used(servers: Servers, tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "mine"
    if content is not None:
        path.write_text(content)
    with (
        Client(servers.plain, credentials=Credentials(token_file=path)) as client,
        pytest.raises(errors.CredentialsError, match=told),
    ):
        list(client.list_bases())


def test_the_environment_fills_in_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": "t", "CA": "ca", "CERT": "c", "KEY": "k", "TENANT": "team", "TLS": "1"}.items():
        monkeypatch.setenv(f"LORAMILL_{name}", value)
    found = Credentials.from_environment()
    assert found == Credentials(token="t", tls=True, ca=Path("ca"), certificate=Path("c"), key=Path("k"), tenant="team")
    given = Credentials.from_environment(token_file=Path("f"), tenant="other", ca=None)
    assert (given.token, given.token_file, given.tenant, given.ca) == ("", Path("f"), "other", Path("ca"))
    monkeypatch.setenv("LORAMILL_TOKEN_FILE", "f")
    with pytest.raises(errors.CredentialsError):
        Credentials.from_environment()


def test_a_watch_goes_on_with_a_new_token_when_the_old_one_ends(servers: Servers, tmp_path: Path) -> None:
    servers.asking.refuse = {1: (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_EXPIRED")}
    servers.asking.before_end = lambda: (tmp_path / "token").write_text("renewed") and None
    with Client(servers.plain, credentials=Credentials(token_file=tmp_path / "token")) as client:
        states = [job.state for job in client.watch_job("x")]
    assert states == [v1.TRAINING_JOB_STATE_RUNNING, v1.TRAINING_JOB_STATE_SUCCEEDED]
    assert [carried["authorization"] for carried in servers.asking.carried] == ["Bearer from-a-file", "Bearer renewed"]


def test_a_watch_ends_where_the_service_does_not_know_who_watches(servers: Servers) -> None:
    servers.asking.refuse = {1: (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED")}
    with Client(servers.plain) as client, pytest.raises(errors.NotAuthenticated):
        list(client.watch_job("x"))
    assert len(servers.asking.carried) == 1


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_REFUSED", 4),
        (grpc.StatusCode.PERMISSION_DENIED, "NO_RIGHT", 5),
    ],
)
def test_the_command_says_why_and_ends_with_a_code_of_its_own(
    servers: Servers, loramill: Loramill, tmp_path: Path, code: grpc.StatusCode, reason: str, exit_code: int
) -> None:
    servers.asking.refuse = {1: (code, reason)}
    flags = ("--server", servers.tls, "--ca", str(tmp_path / "ca.crt"), "--token-file", str(tmp_path / "token"))
    result = loramill(*flags, "--tenant", "team", "base", "list")
    assert (result.code, result.out, result.err) == (exit_code, "", f"Error: It is {reason}.\n")
    assert servers.asking.carried[0]["authorization"] == "Bearer from-a-file"
    assert servers.asking.carried[0]["x-loramill-tenant"] == "team"


def test_the_command_refuses_to_send_a_token_in_the_open(loramill: Loramill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAMILL_TOKEN", "canary")
    result = loramill("base", "list", "--server", "10.0.0.1:50051")
    assert result.code == 2
    assert "--insecure-token" in result.err
    assert "canary" not in result.err
