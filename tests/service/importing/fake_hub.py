"""A Hugging Face hub on loopback: model info, revisions, resolve with the hub's headers, ranges, and large files elsewhere.

As the hub does, it keeps safetensors in LFS: `resolve` redirects to another origin, where no token belongs.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Repository:
    files: dict[str, bytes]
    refs: dict[str, str] = field(default_factory=dict)
    """Commits by branch or tag."""
    license: str | None = "openrail++"
    token: str = ""
    """What callers must show; empty for everybody."""
    gated: bool = False

    @property
    def commits(self) -> set[str]:
        return set(self.refs.values())


@dataclass
class Hub:
    """What the server does, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    """Server (`hub` or `cdn`), method, path, token."""
    failures: list[tuple[str, int]] = field(default_factory=list)
    """Parts of paths and the status that the next request for such a path gets, once each."""
    truncations: dict[str, int] = field(default_factory=dict)
    """Bytes after which the next sending of a file breaks off, once each."""
    overrides: dict[str, bytes] = field(default_factory=dict)
    """What the CDN sends in the place of a file."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """Files that the CDN sends only half of until then; the event says that it holds one back."""
    sent: int = 0
    """Bytes of files that the CDN has sent."""
    moved_to: str = ""
    """The commit that `resolve` claims to serve, if another than asked for."""
    extra_names: list[str] = field(default_factory=list)
    """Names in the listing that there are no files of."""
    endpoint: str = ""
    cdn: str = ""

    def add(self, name: str, files: dict[str, bytes], commit: str = "a" * 40, **settings: Any) -> Repository:
        repository = Repository(files, {"main": commit}, **settings)
        self.repositories[name] = repository
        return repository

    def add_folder(self, name: str, folder: Path, **settings: Any) -> Repository:
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.add(name, files, **settings)

    def asked(self, server: str, method: str) -> list[str]:
        return [path for where, what, path, _ in self.requests if (where, what) == (server, method)]


@contextmanager
def running_hub(host: str = "127.0.0.1") -> Iterator[Hub]:
    hub = Hub()
    servers = [ThreadingHTTPServer((host, 0), _handler(hub, name)) for name in ("hub", "cdn")]
    hub.endpoint, hub.cdn = (f"http://{host}:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _handler(hub: Hub, server: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:
            """Silent."""

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            hub.requests.append((server, self.command, path, token))
            for failure in hub.failures:
                if failure[0] in path:
                    hub.failures.remove(failure)
                    self._answer(failure[1], b"busy", {"Retry-After": "0"})
                    return
            parts = path.strip("/").split("/")
            if server == "cdn":
                self._send("/".join(parts[3:]), hub.repositories["/".join(parts[:2])], {})
            elif parts[:2] == ["api", "models"]:
                self._info("/".join(parts[2:4]), "/".join(parts[5:]) or "main", token)
            else:
                self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]), token)

        def _allowed(self, name: str, token: str | None) -> Repository | None:
            repository = hub.repositories.get(name)
            if repository is None:
                self._answer(401 if token is None else 404, b"", {"X-Error-Code": "RepoNotFound"})
            elif repository.gated and not token:
                self._answer(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
            elif repository.token and token != repository.token:
                self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
            else:
                return repository
            return None

        def _info(self, name: str, revision: str, token: str | None) -> None:
            repository = self._allowed(name, token)
            if repository is None:
                return
            commit = revision if revision in repository.commits else repository.refs.get(revision)
            if commit is None:
                self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
                return
            siblings = [_sibling(path, content) for path, content in repository.files.items()]
            siblings += [{"rfilename": path, "size": 1, "blobId": "0" * 40} for path in hub.extra_names]
            card = {"cardData": {"license": repository.license}} if repository.license else {}
            body = {"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": [], **card}
            self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

        def _resolve(self, name: str, commit: str, path: str, token: str | None) -> None:
            repository = self._allowed(name, token)
            if repository is None:
                return
            if path not in repository.files or commit not in repository.commits:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
                return
            content = repository.files[path]
            headers = {"X-Repo-Commit": hub.moved_to or commit}
            if path.endswith(".safetensors"):
                digest = hashlib.sha256(content).hexdigest()
                headers |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}
                self._answer(302, b"", headers | {"Location": f"{hub.cdn}/{name}/{commit}/{path}"})
                return
            self._send(path, repository, headers)

        def _send(self, path: str, repository: Repository, headers: dict[str, str]) -> None:
            content = hub.overrides.get(path, repository.files[path])
            start, status = 0, 200
            wanted = self.headers.get("Range")
            if wanted:
                first, last = wanted.removeprefix("bytes=").split("-")
                start, status, size = int(first), 206, len(content)
                content = content[: int(last) + 1] if last else content
                headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{size}"}
            etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self._answer(status, content[start:], headers | {"ETag": f'"{etag}"'}, hub.truncations.pop(path, None))

        def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
            if self.command == "HEAD" and cut is not None:
                hub.truncations[urlsplit(self.path).path.split("/", 5)[-1]] = cut
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            held = next((event for part, event in hub.held.items() if part in self.path), None)
            if held is not None and server == "cdn":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                held.set()
                self.rfile.read(1)  # until the caller is gone
                return
            hub.sent += len(body) if server == "cdn" else 0
            self.wfile.write(body if cut is None else body[:cut])
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(2)

    return Handler


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    found: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": blob}
    if path.endswith(".safetensors"):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return found
