"""Who is let in, as the operator configures it: ways to prove an identity, certificates, and grants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.auth.rights import Role
from service.keys import is_tenant

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures with a public and a private key (RFC 7518 section 3.1, RFC 8037). Never `none`, never HMAC: whoever can check an
HMAC can also make one."""
BEHIND_A_MESH = "behind-a-mesh"
"""What an operator has to write who lets tokens travel without TLS of our own."""

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _tenant(text: str) -> str:
    if not is_tenant(text):
        raise ValueError("must be 1 to 63 lower-case letters, digits and '-', which is neither first nor last")
    return text


def _keys_url(url: str) -> str:
    parts = urlsplit(url)
    loopback = parts.hostname in _LOOPBACK_HOSTS
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise ValueError("must be an https address; http is taken on loopback only")
    return url


class ServiceAccounts(_Frozen):
    """Tokens of Kubernetes service accounts, checked by the API server (TokenReview)."""

    audience: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        "loramill", description="audience that tokens must be made for; not that of the API server itself"
    )


class OidcIssuer(_Frozen):
    """Tokens of one identity provider (OpenID Connect), checked with its public keys."""

    issuer: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="claim `iss`, to the letter")
    audience: Annotated[str, Field(min_length=1, max_length=500)] = Field(description="one of claim `aud`")
    keys_file: Path | None = Field(None, description="the provider's keys, a JWKS (RFC 7517)")
    keys_url: Annotated[str, AfterValidator(_keys_url)] | None = Field(
        None, description="where the provider serves them"
    )
    ca: Path | None = Field(
        None, description="PEM file of the authorities that keys_url is trusted by; default: the system's"
    )
    algorithms: tuple[Algorithm, ...] = Field(("RS256", "ES256"), min_length=1)
    subject_claim: Annotated[str, Field(min_length=1)] = Field("sub", description="claim that is the subject of grants")
    groups_claim: Annotated[str, Field(min_length=1)] = Field(
        "groups", description="claim that lists the groups of grants"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.keys_file is None) == (self.keys_url is None):
            raise ValueError("give the provider's keys by keys_file or by keys_url, one of them")
        return self


class Authentication(_Frozen):
    """The ways in which a caller can prove who it is; client certificates are configured with `tls`."""

    service_accounts: ServiceAccounts | None = None
    oidc: tuple[OidcIssuer, ...] = ()
    plaintext: Literal["behind-a-mesh"] | None = Field(
        None, description=f"{BEHIND_A_MESH} where something in front of the service encrypts; else TLS is needed"
    )
    reflection: Literal["open", "authenticated"] = Field(
        "open", description="who may ask which calls there are; health is always open"
    )

    @model_validator(mode="after")
    def _issuers_differ(self) -> Self:
        issuers = [provider.issuer for provider in self.oidc]
        doubled = sorted({issuer for issuer in issuers if issuers.count(issuer) > 1})
        if doubled:
            raise ValueError(f"{', '.join(doubled)} is configured more than once; keep one entry for each issuer")
        return self

    @property
    def takes_tokens(self) -> bool:
        return self.service_accounts is not None or bool(self.oidc)


class Tls(_Frozen):
    """The server's certificate, and whether clients may show theirs. Files are read again when they change."""

    certificate: Path = Field(description="PEM file of the server's certificate and its chain")
    key: Path = Field(description="PEM file of its private key")
    client_ca: Path | None = Field(None, description="PEM file of the authorities of client certificates")
    client_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        50053, description="port on which a client certificate is required, with client_ca; tokens are taken there too"
    )


class OidcSubject(_Frozen):
    """One subject of an identity provider, or everybody in one of its groups."""

    issuer: str = Field(min_length=1)
    subject: Annotated[str, Field(min_length=1)] | None = None
    group: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.subject is None) == (self.group is None):
            raise ValueError("give subject or group, one of them")
        return self


class Grant(_Frozen):
    """Who belongs to a tenant, and in which role. Exactly one of service_account, oidc and certificate says who."""

    tenant: Annotated[str, AfterValidator(_tenant)]
    role: Role
    service_account: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/(\*|[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)$",
        description="namespace/name, or namespace/* for every one of the namespace",
    )
    oidc: OidcSubject | None = None
    certificate: str | None = Field(
        None,
        pattern=r"^(spiffe://|dns:|cn:).+",
        description="spiffe://… (the certificate's URI), dns:… (its first DNS name) or cn:… (its common name)",
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(way is not None for way in (self.service_account, self.oidc, self.certificate)) != 1:
            raise ValueError("say who is meant by one of service_account, oidc and certificate")
        return self
