"""Who is let in, with tokens that a real API server made and checks. The service is the one that is installed."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.auth.bearer import claimed
from service.auth.identity import Identity, Way
from service.auth.rights import NEEDED, Role
from service.auth.token_review import LET_IN_S, TokenReviews, reviews_of
from service.errors import NotIdentified
from service.kubernetes_api import api_at
from tests.cluster.installed import CALLERS, Installed
from tests.service.auth.authority import tampered
from tests.service.auth.guarded import RPCS, bearer, code_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
API_SERVERS_MEMORY_S = 30.0
"""More than the seconds for which an API server itself remembers a token that it has checked (10)."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(installed: Installed) -> AsyncIterator[grpc.aio.Channel]:
    credentials = grpc.ssl_channel_credentials(installed.ca.read_bytes())
    async with grpc.aio.secure_channel(installed.address, credentials) as channel:
        yield channel


@pytest.fixture
def passing(installed: Installed) -> Iterator[str]:
    """A service account of the test's own, whom no grant names."""
    name = f"passing-{time.time_ns()}"
    installed.kubectl("-n", CALLERS, "create", "serviceaccount", name)
    yield name
    installed.kubectl("-n", CALLERS, "delete", "serviceaccount", name, "--ignore-not-found")


def resigned(token: str, key: Any = None, **changes: object) -> str:
    """The token with other claims, signed anew under its own key id; without a `key` with one that nobody knows."""
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    header = jwt.get_unverified_header(token)
    unknown = (
        ec.generate_private_key(ec.SECP256R1()) if header["alg"] == "ES256" else rsa.generate_private_key(65537, 2048)
    )
    return jwt.encode(claims, key or unknown, header["alg"], {"kid": header["kid"]})


def without_audience(installed: Installed) -> str:
    """A token for the API server itself, such as every pod has."""
    return installed.kubectl("-n", CALLERS, "create", "token", "operator").strip()


WRONG: dict[str, Callable[[Installed], str]] = {
    "for the API server": without_audience,
    "for another audience": lambda installed: installed.token("operator", audience="grafana"),
    "for an audience alike": lambda installed: installed.token("operator", audience="loramill-2"),
    "of another cluster": lambda installed: resigned(installed.token("operator")),
    "of another account, tampered with": lambda installed: tampered(
        installed.token("stranger"), sub=f"system:serviceaccount:{CALLERS}:operator"
    ),
    "without its signature": lambda installed: installed.token("operator").rpartition(".")[0] + ".",
    "unsigned": lambda installed: jwt.encode(
        jwt.decode(installed.token("operator"), options={"verify_signature": False}), "", "none"
    ),
    "of another issuer": lambda installed: tampered(installed.token("operator"), iss="https://evil.example"),
    "longer than it was made for": lambda installed: tampered(installed.token("operator"), exp=2**31),
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_no_call_is_answered_with_a_token(installed: Installed, channel: grpc.aio.Channel, wrong: str) -> None:
    token = WRONG[wrong](installed)
    for rpc in RPCS:
        code, message = await code_of(channel, rpc, bearer(token))
        assert code is UNAUTHENTICATED, (rpc, message)


async def test_no_call_is_answered_without_a_token(channel: grpc.aio.Channel) -> None:
    for rpc in RPCS:
        code, message = await code_of(channel, rpc)
        assert code is UNAUTHENTICATED, (rpc, message)


async def test_an_expired_token_of_this_very_cluster_is_refused(
    installed: Installed, channel: grpc.aio.Channel
) -> None:
    path = Path(installed.description["ca"]).with_name("service-accounts.key")
    if not path.exists():
        pytest.skip("only where the cluster's own signing key is at hand can an expired token be made at once")
    key, now = load_pem_private_key(path.read_bytes(), None), int(time.time())
    good = resigned(installed.token("operator"), key)
    assert (await code_of(channel, "/loramill.v1.TrainingService/ListTrainingJobs", bearer(good)))[
        0
    ] is grpc.StatusCode.OK
    for rpc in RPCS:
        code, message = await code_of(
            channel, rpc, bearer(resigned(good, key, iat=now - 700, nbf=now - 700, exp=now - 1))
        )
        assert code is UNAUTHENTICATED, (rpc, message)
        assert "expired" in message


async def test_an_account_that_no_grant_names_may_do_nothing(installed: Installed, channel: grpc.aio.Channel) -> None:
    token = installed.token("stranger")
    for rpc in RPCS:
        code, message = await code_of(channel, rpc, bearer(token))
        assert code is DENIED, (rpc, message)


@pytest.mark.parametrize(
    ("account", "role"), [("tenant-a-viewer", Role.VIEWER), ("tenant-ab", Role.EDITOR), ("operator", Role.OPERATOR)]
)
async def test_each_account_may_do_what_its_role_allows_and_no_more(
    installed: Installed, channel: grpc.aio.Channel, account: str, role: Role
) -> None:
    token = installed.token(account)
    for rpc in RPCS:
        code, message = await code_of(channel, rpc, bearer(token))
        assert (code is DENIED) == (not role.includes(NEEDED[rpc])), (rpc, code, message)
        assert code not in (UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE), (rpc, message)


@pytest.mark.parametrize("tenant", ["tenant-ab", "_shared", "tenant-a/"])
async def test_no_account_can_choose_anothers_tenant(
    installed: Installed, channel: grpc.aio.Channel, tenant: str
) -> None:
    token = installed.token("tenant-a")
    for rpc in RPCS:
        code, message = await code_of(channel, rpc, bearer(token, ("x-loramill-tenant", tenant)))
        assert code is DENIED, (rpc, message)


async def test_an_account_that_is_gone_is_refused(
    installed: Installed, channel: grpc.aio.Channel, passing: str
) -> None:
    token = installed.token(passing)
    installed.kubectl("-n", CALLERS, "delete", "serviceaccount", passing)
    for rpc in RPCS:
        code, message = await code_of(channel, rpc, bearer(token))
        assert code is UNAUTHENTICATED, (rpc, message)


async def test_an_account_that_was_let_in_is_refused_a_minute_after_it_is_gone(
    installed: Installed, passing: str
) -> None:
    token, ahead = installed.token(passing), 0.0
    api = api_at(Path(installed.description["kubeconfig"]))
    with ThreadPoolExecutor(1) as threads:
        reviews = TokenReviews(reviews_of(api), "loramill", threads, lambda: time.time() + ahead)
        found = await reviews.identity(token, claimed(token))
        assert found == Identity(Way.SERVICE_ACCOUNT, f"{CALLERS}/{passing}", claimed(token).expires)
        installed.kubectl("-n", CALLERS, "delete", "serviceaccount", passing)
        assert await reviews.identity(token, claimed(token)) == found
        deadline = time.monotonic() + API_SERVERS_MEMORY_S
        while time.monotonic() < deadline:
            ahead += LET_IN_S + 1
            try:
                await reviews.identity(token, claimed(token))
            except NotIdentified:
                return
    raise AssertionError("the account is still let in")


async def test_health_asks_nobody(channel: grpc.aio.Channel) -> None:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_tls_nothing_is_answered(installed: Installed) -> None:
    async with grpc.aio.insecure_channel(installed.address) as plain:
        code, _ = await code_of(
            plain, "/loramill.v1.TrainingService/ListTrainingJobs", bearer(installed.token("operator"))
        )
    assert code is grpc.StatusCode.UNAVAILABLE
