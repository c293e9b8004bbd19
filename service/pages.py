"""Pages of a listing: sizes, and tokens that are opaque and belong to one filter. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re

from service.errors import InvalidRequest, Violation

DEFAULT_SIZE = 50
MOST = 1000
_ENTRY = re.compile(r"[A-Za-z0-9_-]{1,100}")


def page_size(asked: int, default: int = DEFAULT_SIZE, most: int = MOST) -> int:
    """How many entries a page has. Raises InvalidRequest for a size outside 0 to `most`."""
    if not 0 <= asked <= most:
        text = f"page_size is {asked}, but must be 0 to {most}; 0 means {default}."
        raise InvalidRequest([Violation("page_size", text)])
    return asked or default


def page_token(after: str, *bound_to: str) -> str:
    """A token for the page behind the entry `after`, good only with what it is bound to (listing and filter)."""
    content = json.dumps([after, _digest(bound_to)])
    return base64.urlsafe_b64encode(content.encode()).decode()


def entry_before(token: str, *bound_to: str) -> str:
    """The entry behind which the page of this token begins; empty for no token. Raises InvalidRequest."""
    if not token:
        return ""
    try:
        after, digest = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        after, digest = None, None
    if not isinstance(after, str) or not _ENTRY.fullmatch(after) or digest != _digest(bound_to):
        text = f"page_token {token[:80]!r} is not a next_page_token of the same call with the same filter; begin again without."
        raise InvalidRequest([Violation("page_token", text, "INVALID_PAGE_TOKEN")])
    return after


def _digest(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
