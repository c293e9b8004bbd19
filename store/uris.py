"""Addresses of stores and objects: `file:///folder/key` and `s3://bucket/prefix/key`, percent-encoded (RFC 3986)."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from store.key_rules import check_key
from store.object_store import InvalidKey

_UNCHANGED = "/!$&'()*+,;=:@"
"""Beside letters, digits and `-._~`: what a path may hold as it is."""

_OBJECT = re.compile(r"(?P<root>(?:file://(?:localhost)?|s3://[^/]+)/(?:.*/)?)(?P<name>[^/]+)")


def encoded(key: str) -> str:
    """The key as it stands in a URI."""
    return quote(key, safe=_UNCHANGED, errors="surrogatepass")


def decoded(text: str) -> str:
    """The key or path that stands in a URI. Raises InvalidKey if it is not UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidKey(f"{text!r} in a URI is not UTF-8 after percent-decoding") from None


def split_uri(uri: str) -> tuple[str, str]:
    """The root and the key of an object's URI: `file:///a/b/c.json` is `file:///a/b/` and `c.json`.

    The root is the object's folder, so that `open_store` of it reads and writes the object under that key.
    """
    match = _OBJECT.fullmatch(uri)
    if match is None:
        raise InvalidKey(f"{uri!r} names no object: expected file:///folder/key or s3://bucket/key")
    key = decoded(match["name"])
    check_key(key)
    return match["root"], key
