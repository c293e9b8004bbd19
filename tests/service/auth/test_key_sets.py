"""An identity provider's keys: which count, when they are read again, and what happens when they cannot be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from service.auth.key_sets import COOLDOWN_S, FRESH_S, STALE_S, KeySet, KeysUnavailable, key_set, parsed
from service.auth.settings import OidcIssuer
from tests.service.auth.authority import Provider

ENTRY = json.loads(Provider("https://idp.example").key_set())["keys"][0]
RSA = {
    "kty": "RSA",
    "kid": "rsa",
    "e": "AQAB",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
    "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91C"
    "bOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
}  # the example of RFC 7517 appendix A.1


@pytest.mark.parametrize(
    ("entry", "algorithms"),
    [
        (ENTRY, {"ES256"}),
        ({**ENTRY, "alg": None, "use": "sig"}, {"ES256"}),
        (RSA, {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
        ({**RSA, "alg": "PS256"}, {"PS256"}),
        ({**ENTRY, "use": "enc"}, None),
        ({**ENTRY, "kid": None}, None),
        ({**ENTRY, "kty": "oct", "k": "c2VjcmV0"}, None),
        ({**ENTRY, "d": ENTRY["x"]}, None),
        ({**ENTRY, "crv": "P-9"}, None),
        ("key", None),
    ],
)
def test_only_public_keys_with_an_id_that_are_for_signatures_count(entry: object, algorithms: set[str] | None) -> None:
    keys = parsed(json.dumps({"keys": [entry]}).encode())
    assert [set(key.algorithms) for key in keys.values()] == ([] if algorithms is None else [algorithms])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": {}}', b" " * (2 << 20)])
def test_what_is_no_key_set_is_said(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the text is JSON's own in part)
        parsed(content)


class World:
    """A provider that is asked at a time of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.read = 0
        self.provider = Provider("https://idp.example")
        self.down = False
        self.keys = KeySet(self._read, "https://idp.example", lambda: self.now)

    def _read(self) -> bytes:
        self.read += 1
        if self.down:
            raise OSError("connection refused")
        return self.provider.key_set()


@pytest.fixture
def world() -> World:
    return World()


def test_keys_are_kept_and_read_again_after_a_time(world: World) -> None:
    assert world.keys.key("one")
    assert world.keys.key("one")
    assert world.read == 1
    world.now = FRESH_S + 1
    world.provider = Provider("https://idp.example", kid="two")
    assert world.keys.key("one") is None
    assert world.keys.key("two")


def test_a_new_key_is_found_at_once_and_a_flood_of_unknown_ones_asks_seldom(world: World) -> None:
    assert world.keys.key("one")
    world.now = COOLDOWN_S
    world.provider = Provider("https://idp.example", kid="two")
    assert world.keys.key("two")
    for number in range(100):
        assert world.keys.key(f"guess {number}") is None
    assert world.read == 2


def test_a_provider_that_is_away_takes_nobody_out_for_an_hour(world: World) -> None:
    world.keys.key("one")
    world.down = True
    world.now = FRESH_S + 1
    assert world.keys.key("one")
    with pytest.raises(KeysUnavailable, match="connection refused"):
        world.keys.key("two")
    assert world.read == 2
    world.now = STALE_S + 1
    with pytest.raises(KeysUnavailable):
        world.keys.key("one")
    world.down, world.now = False, world.now + COOLDOWN_S
    assert world.keys.key("one")


def test_a_provider_that_was_never_reached_lets_nobody_in(world: World) -> None:
    world.down = True
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            world.keys.key("one")
    assert world.read == 1


@contextmanager
def served(content: bytes, redirect_to: str | None = None) -> Iterator[str]:
    """The address of a key set on loopback, or of a redirection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if redirect_to is None else 302)
            if redirect_to is not None:
                self.send_header("Location", redirect_to)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()
        thread.join()


def test_keys_come_from_the_address_that_the_operator_names_and_from_no_other() -> None:
    with served(Provider("https://idp.example").key_set()) as url:
        provider = OidcIssuer(issuer="i", audience="a", keys_url=url)
        assert key_set(provider).key("one")
        with served(b"", redirect_to=url) as other:
            elsewhere = OidcIssuer(issuer="i", audience="a", keys_url=other)
            with pytest.raises(KeysUnavailable, match="302"):
                key_set(elsewhere).key("one")


@pytest.mark.parametrize(
    "url", ["http://idp.example/keys", "file:///etc/keys", "ftp://127.0.0.1/keys", "https:///keys", "keys"]
)
def test_keys_are_never_fetched_without_tls_from_elsewhere(url: str) -> None:
    with pytest.raises(ValidationError, match="https"):
        OidcIssuer(issuer="i", audience="a", keys_url=url)
