"""Every RPC with every kind of wrong credentials, over a real server with TLS; and with right ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.auth.rights import NEEDED, Role
from tests.service.auth.authority import Authority, Provider, encoded, tampered
from tests.service.auth.guarded import CLUSTER, ISSUER, RPCS, Guarded, ago, bearer, code_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Metadata = Sequence[tuple[str, str]]
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
REFUSED = {UNAUTHENTICATED, DENIED, grpc.StatusCode.UNAVAILABLE}

STRANGER = Provider(ISSUER)  # says of itself that it is the provider, and has another key

WRONG: dict[str, Callable[[Guarded], Metadata]] = {
    "none": lambda _: (),
    "empty": lambda _: (("authorization", ""),),
    "a scheme without a token": lambda _: (("authorization", "Bearer "),),
    "garbage": lambda _: bearer("garbage"),
    "garbage in three parts": lambda _: bearer("Z2Fy.YmFn.ZQ"),
    "no object": lambda _: bearer(".".join(encoded(part).decode() for part in (b'{"alg":"ES256"}', b"[1]", b"x"))),
    "expired": lambda of: bearer(of.provider.token(exp=ago(120))),
    "without an end": lambda of: bearer(of.provider.token(exp=None)),
    "not yet valid": lambda of: bearer(of.provider.token(nbf=ago(-600))),
    "made in the future": lambda of: bearer(of.provider.token(iat=ago(-600))),
    "for another audience": lambda of: bearer(of.provider.token(aud="grafana")),
    "for no audience": lambda of: bearer(of.provider.token(aud=None)),
    "of another issuer": lambda of: bearer(of.provider.token(iss="https://evil.example")),
    "of no issuer": lambda of: bearer(of.provider.token(iss=None)),
    "of an issuer alike": lambda of: bearer(of.provider.token(iss=f"{ISSUER}/")),
    "signed with another key": lambda _: bearer(STRANGER.token()),
    "unsigned": lambda of: bearer(of.provider.unsigned()),
    "an HMAC with the public key": lambda of: bearer(of.provider.confused()),
    "an HMAC that says ES256": lambda of: bearer(of.provider.confused("ES256")),
    "with an unknown key id": lambda of: bearer(of.provider.token({"kid": "two"})),
    "without a key id": lambda of: bearer(of.provider.token({"kid": None})),
    "with a key of its own": lambda _: bearer(STRANGER.token({"jwk": {"kty": "EC"}})),
    "with a key elsewhere (jku)": lambda _: bearer(STRANGER.token({"jku": "https://evil.example/keys"})),
    "with a key elsewhere (x5u)": lambda _: bearer(STRANGER.token({"x5u": "https://evil.example/keys"})),
    "tampered with": lambda of: bearer(tampered(of.provider.token(sub="viewer"), sub="operator")),
    "without its signature": lambda of: bearer(of.provider.token().rpartition(".")[0] + "."),
    "without a subject": lambda of: bearer(of.provider.token(sub=None)),
    "with an endless subject": lambda of: bearer(of.provider.token(sub="x" * 300)),
    "with groups that are none": lambda of: bearer(of.provider.token(groups={"researchers": True})),
    "in another scheme": lambda of: (("authorization", f"Basic {of.provider.token()}"),),
    "twice": lambda of: (*bearer(of.provider.token()), *bearer(of.provider.token())),
    "in another place": lambda of: (("x-authorization", f"Bearer {of.provider.token()}"),),
    "too long": lambda of: bearer(of.provider.token(note="x" * 9000)),
    "of an account that is gone": lambda of: bearer(of.api_server.token(known=False)),
    "of an account for another audience": lambda of: bearer(of.api_server.token(audience=CLUSTER)),
    "of an account, expired": lambda of: bearer(of.api_server.token(exp=ago(1))),
}
"""Nobody is behind these."""

NOT_THEIRS: dict[str, Callable[[Guarded], Metadata]] = {
    "of nobody's": lambda of: bearer(of.provider.token(sub="stranger")),
    "of a group that has nothing": lambda of: bearer(of.provider.token(sub="stranger", groups=["visitors"])),
    "for another tenant": lambda of: bearer(of.provider.token(), ("x-loramill-tenant", "team-b")),
    "for two tenants at once": lambda of: bearer(
        of.provider.token(sub="both"), ("x-loramill-tenant", "team-a"), ("x-loramill-tenant", "team-b")
    ),
    "for what all tenants share": lambda of: bearer(of.provider.token(), ("x-loramill-tenant", "_shared")),
    "of several tenants, without a choice": lambda of: bearer(of.provider.token(sub="both")),
    "of an account of nobody's": lambda of: bearer(of.api_server.token("team-b:robot")),
    "of a namespace alike": lambda of: bearer(of.api_server.token("lab2:robot")),
}
"""It is known who is behind these, and that they belong nowhere."""


async def test_the_table_of_rights_names_every_call_and_no_other() -> None:
    assert set(NEEDED) == set(RPCS)


@pytest.mark.parametrize("wrong", WRONG)
async def test_no_call_is_answered_with_credentials(service: Guarded, wrong: str) -> None:
    messages = set()
    for rpc in RPCS:
        code, message = await code_of(service.plain, rpc, WRONG[wrong](service))
        assert code is UNAUTHENTICATED, (rpc, message)
        messages.add(message)
    assert len(messages) == 1
    assert "expired" not in messages.pop() or "expired" in wrong


@pytest.mark.parametrize("foreign", NOT_THEIRS)
async def test_no_call_is_answered_for_identities_without_a_place(service: Guarded, foreign: str) -> None:
    for rpc in RPCS:
        code, message = await code_of(service.plain, rpc, NOT_THEIRS[foreign](service))
        assert code is DENIED, (rpc, message)


@pytest.mark.parametrize(
    ("subject", "role"), [("viewer", Role.VIEWER), ("robot", Role.EDITOR), ("operator", Role.OPERATOR)]
)
async def test_each_role_may_do_what_the_table_says_and_no_more(service: Guarded, subject: str, role: Role) -> None:
    for rpc in RPCS:
        code, message = await code_of(service.plain, rpc, bearer(service.provider.token(sub=subject)))
        assert (code is DENIED) == (not role.includes(NEEDED[rpc])), (rpc, code, message)
        assert code is DENIED or code not in REFUSED, (rpc, code, message)


@pytest.mark.parametrize("rpc", RPCS)
async def test_whoever_proves_to_be_an_operator_is_let_in_each_way(service: Guarded, rpc: str) -> None:
    for token in (service.provider.token(sub="operator"), service.api_server.token()):
        code, message = await code_of(service.plain, rpc, bearer(token))
        assert code not in REFUSED, message
    async with service.channel(service.certificate()) as channel:
        code, message = await code_of(channel, rpc)
        assert code not in REFUSED, message


LIST = "/loramill.v1.TrainingService/ListTrainingJobs"


@pytest.mark.parametrize(
    "metadata",
    [
        lambda of: bearer(of.provider.token(sub="stranger", groups=["researchers"])),
        lambda of: bearer(of.provider.token(), ("x-loramill-tenant", "team-a")),
        lambda of: bearer(of.provider.token(sub="both"), ("x-loramill-tenant", "team-b")),
        lambda of: bearer(of.provider.token(aud=["grafana", "loramill"])),
        lambda of: bearer(of.provider.token(exp=ago(30))),  # within what two clocks may differ
        lambda of: bearer(of.provider.token(iat=ago(-30), nbf=ago(-30))),
        lambda of: bearer(of.api_server.token("lab:anybody")),
        lambda of: (("authorization", f"bearer  {of.provider.token()}"),),
    ],
)
async def test_who_is_let_in(service: Guarded, metadata: Callable[[Guarded], Metadata]) -> None:
    assert await code_of(service.plain, LIST, metadata(service)) == (grpc.StatusCode.OK, "")


async def test_a_call_that_the_table_forgot_is_refused_to_everybody(
    service: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(NEEDED, LIST)
    code, _ = await code_of(service.plain, LIST, bearer(service.provider.token(sub="operator")))
    assert code is DENIED


async def test_certificates_that_do_not_count(service: Guarded) -> None:
    uri = x509.UniformResourceIdentifier
    stranger = Authority("clients").issue("", [uri("spiffe://example/robot")])
    wrong = {
        "of another authority": stranger,
        "none": None,
        "for servers": service.certificate(
            names=[uri("spiffe://example/robot")], usage=x509.ExtendedKeyUsageOID.SERVER_AUTH
        ),
        "with two identities": service.certificate(
            names=[uri("spiffe://example/robot"), uri("spiffe://example/other")]
        ),
        "with an address that is no identity": service.certificate(names=[uri("https://example/robot")]),
        "of nobody's": service.certificate(names=[uri("spiffe://example/stranger")]),
        "a name of another kind": service.certificate(names=[x509.DNSName("robot")]),
        "a common name beside another": service.certificate(common_name="robot", names=[x509.DNSName("else")]),
    }
    for name, certificate in wrong.items():
        async with service.channel(certificate) as channel:
            for rpc in RPCS:
                code, message = await code_of(channel, rpc)
                assert code in REFUSED, (name, rpc, message)


async def test_a_bad_token_is_not_made_good_by_a_good_certificate(service: Guarded) -> None:
    async with service.channel(service.certificate()) as channel:
        code, _ = await code_of(channel, LIST, bearer(STRANGER.token()))
    assert code is UNAUTHENTICATED


async def test_a_certificate_counts_only_where_it_was_asked_for(service: Guarded) -> None:
    port = int(service.service.address.rpartition(":")[2])
    async with service.channel(service.certificate(), port=port) as channel:
        code, _ = await code_of(channel, LIST)
    assert code is UNAUTHENTICATED


async def test_nobody_is_let_in_while_the_api_server_does_not_answer(service: Guarded) -> None:
    token = service.api_server.token(jti="another")
    service.api_server.answers = False
    try:
        for rpc in RPCS:
            code, _ = await code_of(service.plain, rpc, bearer(token))
            assert code is grpc.StatusCode.UNAVAILABLE, rpc
    finally:
        service.api_server.answers = True
    assert (await code_of(service.plain, LIST, bearer(token)))[0] is grpc.StatusCode.OK


async def test_health_is_open_to_everybody(service: Guarded) -> None:
    answer = await health_pb2_grpc.HealthStub(service.plain).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_no_token_is_ever_written(
    service: Guarded,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.auth.refusals.BETWEEN_LINES_S", 0.0)  # every line is written
    caplog.set_level(logging.DEBUG)
    tokens = [
        service.provider.token(jti="canary"),
        service.provider.token(jti="canary", exp=ago(120)),
        service.provider.token({"kid": "two"}, jti="canary"),
        service.provider.unsigned(jti="canary"),
        service.provider.token(jti="canary", sub="stranger"),
        STRANGER.token(jti="canary"),
        service.api_server.token(jti="canary"),
        service.api_server.token(jti="canary", known=False),
    ]
    for token in tokens:
        for rpc in RPCS:
            await code_of(service.plain, rpc, bearer(token))
    service.api_server.answers = False
    await code_of(service.plain, LIST, bearer(service.api_server.token(jti="last canary")))
    service.api_server.answers = True
    written = capsys.readouterr()
    text = written.out + written.err + caplog.text
    assert "caller not let in" in text
    for token in tokens:
        for part in token.split("."):
            assert not part or part not in text or part in tokens[0].split(".")[0]
