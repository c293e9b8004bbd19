"""What an operator can write, and with what the service refuses to start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from service.auth.authenticator import Authenticator, authenticator
from service.auth.exposure import check_exposure, tenants_of
from service.auth.loopback import identify_loopback
from service.auth.settings import Authentication, Grant, Tls
from service.settings import Unusable

ACCOUNTS = {"service_accounts": {}}
OIDC = {"oidc": [{"issuer": "https://idp.example", "audience": "loramill", "keys_url": "https://idp.example/keys"}]}
TLS = {"certificate": "tls.crt", "key": "tls.key"}
MTLS = {**TLS, "client_ca": "ca.crt"}
ACCOUNT_GRANT = {"tenant": "team", "role": "editor", "service_account": "team/*"}
OIDC_GRANT = {"tenant": "team", "role": "viewer", "oidc": {"issuer": "https://idp.example", "group": "lab"}}
CERTIFICATE_GRANT = {"tenant": "team", "role": "operator", "certificate": "spiffe://example/robot"}


def check(host: str, authentication: dict, tls: dict | None, *grants: dict) -> None:
    check_exposure(
        host,
        Authentication.model_validate(authentication),
        None if tls is None else Tls.model_validate(tls),
        [Grant.model_validate(grant) for grant in grants],
    )


@pytest.mark.parametrize(
    ("host", "authentication", "tls", "grants"),
    [
        ("127.0.0.1", {}, None, [ACCOUNT_GRANT]),
        ("::1", {}, None, []),
        ("localhost", ACCOUNTS, None, [ACCOUNT_GRANT]),
        ("0.0.0.0", ACCOUNTS, TLS, [ACCOUNT_GRANT]),
        ("0.0.0.0", {**ACCOUNTS, "plaintext": "behind-a-mesh"}, None, [ACCOUNT_GRANT]),
        ("::", OIDC, TLS, [OIDC_GRANT]),
        ("10.0.0.1", {}, MTLS, [CERTIFICATE_GRANT]),
        ("service.example", {**ACCOUNTS, **OIDC}, MTLS, [ACCOUNT_GRANT, OIDC_GRANT, CERTIFICATE_GRANT]),
    ],
)
def test_what_may_be_served(host: str, authentication: dict, tls: dict | None, grants: list[dict]) -> None:
    check(host, authentication, tls, *grants)


@pytest.mark.parametrize(
    ("host", "authentication", "tls", "grants", "remedy"),
    [
        ("0.0.0.0", {}, None, [], "configure `authentication` or `tls.client_ca`, or serve 127.0.0.1"),
        ("10.0.0.1", {}, TLS, [], "configure `authentication`"),
        ("128.0.0.1", {"plaintext": "behind-a-mesh"}, None, [], "configure `authentication`"),
        ("localhost.example", {}, None, [], "configure `authentication`"),
        ("0.0.0.0", ACCOUNTS, None, [ACCOUNT_GRANT], "plaintext: behind-a-mesh"),
        ("0.0.0.0", OIDC, TLS, [ACCOUNT_GRANT], r"tenants\[0\].*service_accounts"),
        ("0.0.0.0", ACCOUNTS, TLS, [ACCOUNT_GRANT, OIDC_GRANT], r"tenants\[1\].*idp\.example"),
        ("0.0.0.0", ACCOUNTS, TLS, [CERTIFICATE_GRANT], r"tls\.client_ca"),
        ("0.0.0.0", ACCOUNTS, None, [OIDC_GRANT, CERTIFICATE_GRANT], r"plaintext.*tenants\[0\].*tenants\[1\]"),
    ],
)
def test_what_may_not_be_served_is_said_at_once_with_the_remedy(
    host: str, authentication: dict, tls: dict | None, grants: list[dict], remedy: str
) -> None:
    with pytest.raises(Unusable, match=remedy):
        check(host, authentication, tls, *grants)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (Grant, {**ACCOUNT_GRANT, "tenant": "_shared"}),
        (Grant, {**ACCOUNT_GRANT, "tenant": "Team"}),
        (Grant, {**ACCOUNT_GRANT, "role": "admin"}),
        (Grant, {**ACCOUNT_GRANT, "service_account": "*/*"}),
        (Grant, {**ACCOUNT_GRANT, "service_account": "team"}),
        (Grant, {**ACCOUNT_GRANT, "service_account": "team/ro*"}),
        (Grant, {**ACCOUNT_GRANT, "certificate": "cn:x"}),
        (Grant, {"tenant": "team", "role": "editor"}),
        (Grant, {**CERTIFICATE_GRANT, "certificate": "robot"}),
        (Grant, {**OIDC_GRANT, "oidc": {"issuer": "i"}}),
        (Grant, {**OIDC_GRANT, "oidc": {"issuer": "i", "subject": "a", "group": "b"}}),
        (Authentication, {"plaintext": "yes"}),
        (Authentication, {"service_accounts": {"audience": ""}}),
        (Authentication, {"oidc": OIDC["oidc"] * 2}),
        (Authentication, {"oidc": [{**OIDC["oidc"][0], "keys_file": "keys.json"}]}),
        (Authentication, {"oidc": [{"issuer": "i", "audience": "a"}]}),
        (Authentication, {"oidc": [{**OIDC["oidc"][0], "algorithms": ["HS256"]}]}),
        (Authentication, {"oidc": [{**OIDC["oidc"][0], "algorithms": ["none"]}]}),
        (Authentication, {"oidc": [{**OIDC["oidc"][0], "algorithms": []}]}),
        (Authentication, {"tokens": ["secret"]}),
    ],
)
def test_what_is_no_setting_is_refused(model: type, fault: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(model).validate_python(fault)


def test_the_example_of_the_documentation_can_be_used() -> None:
    page = (Path(__file__).parents[3] / "docs/authentication.md").read_text()
    example = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    check("0.0.0.0", example["authentication"], example["tls"], *example["tenants"])


def test_where_nobody_can_prove_who_they_are_only_loopback_is_known() -> None:
    assert authenticator(Authentication(), None, [], None) is identify_loopback
    assert authenticator(Authentication(), Tls.model_validate(TLS), [], None) is identify_loopback
    assert isinstance(authenticator(Authentication(), Tls.model_validate(MTLS), [], None), Authenticator)


def test_the_tenants_are_those_that_callers_can_be_of() -> None:
    grants = [Grant.model_validate({**ACCOUNT_GRANT, "tenant": name}) for name in ("b", "a", "b")]
    assert tenants_of(Authentication.model_validate(ACCOUNTS), None, grants) == ("a", "b")
    assert tenants_of(Authentication(), None, grants) == ("local",)
