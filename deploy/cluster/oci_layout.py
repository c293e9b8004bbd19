"""A folder in OCI's image layout (OCI image specification 1.0, image-layout.md), read and passed on in parts."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_NAME = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    digest: str
    """`sha256:` and 64 hexadecimal digits."""

    size: int
    """Bytes."""


class Layout:
    """Images by tag; their manifests, configurations and layers by digest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def digest(self, tag: str) -> str:
        """Digest of the manifest of that tag. Raises KeyError."""
        digests: dict[str, str] = {entry["annotations"][_NAME]: entry["digest"] for entry in self._tagged()}
        return digests[tag]

    def path(self, digest: str) -> Path:
        return self.folder / "blobs" / Path(*digest.split(":"))

    def layers(self, digest: str) -> list[Blob]:
        """Layers of an image, the lowest first."""
        return [Blob(layer["digest"], layer["size"]) for layer in self._manifest(digest)["layers"]]

    def is_whole(self, digest: str) -> bool:
        """Whether all of an image is there."""
        return self.path(digest).exists() and all(self.path(blob).exists() for blob in self._blobs(digest))

    def write_archive(self, digest: str, known: Container[str], out: IO[bytes]) -> None:
        """Writes a tar of one image without the blobs that its reader knows. The image has no tag there."""
        manifest = self.path(digest).read_bytes()
        entry = {"mediaType": json.loads(manifest)["mediaType"], "digest": digest, "size": len(manifest)}
        with tarfile.open(fileobj=out, mode="w|") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
            for blob in self._blobs(digest):
                if blob not in known:
                    tar.add(self.path(blob), str(self.path(blob).relative_to(self.folder)))

    def share(self, digest: str, folder: Path) -> None:
        """Makes one file of each blob of an image and its copy in another folder of blobs of the same file system."""
        for blob in self._blobs(digest):
            copy = folder / Path(*blob.split(":"))
            if copy.exists() and not copy.samefile(self.path(blob)):
                temporary = copy.with_suffix(".linking")
                os.link(self.path(blob), temporary)
                temporary.replace(copy)

    def remove_unused(self) -> int:
        """Removes images that lost their tag to another, and the blobs that no image has any more; returns their bytes."""
        tagged = self._tagged()
        self._index_file.write_text(json.dumps({"schemaVersion": 2, "manifests": tagged}))
        used = {blob.split(":")[1] for entry in tagged for blob in self._blobs(entry["digest"])}
        unused = [path for path in (self.folder / "blobs" / "sha256").iterdir() if path.name not in used]
        size = sum(path.stat().st_size for path in unused)
        for path in unused:
            path.unlink()
        return size

    def compressed_size(self, digest: str) -> int:
        """Bytes of a layer as a registry holds it: with gzip, at its usual level."""
        counter = _Counter()
        with self.path(digest).open("rb") as layer, gzip.open(counter, "wb", compresslevel=6) as compressed:
            shutil.copyfileobj(layer, compressed, _CHUNK)
        return counter.bytes

    @property
    def _index_file(self) -> Path:
        return self.folder / "index.json"

    def _tagged(self) -> list[dict[str, Any]]:
        entries = json.loads(self._index_file.read_bytes())["manifests"]
        return [entry for entry in entries if _NAME in entry.get("annotations", {})]

    def _manifest(self, digest: str) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads(self.path(digest).read_bytes())
        return manifest

    def _blobs(self, digest: str) -> list[str]:
        """Digests of the manifest and all that it names."""
        return [digest, self._manifest(digest)["config"]["digest"], *(layer.digest for layer in self.layers(digest))]


class _Counter(io.RawIOBase):
    """Counts what is written to it."""

    bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.bytes += len(data)
        return len(data)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))
