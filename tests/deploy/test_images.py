"""What goes into the images, and what of them goes to a node."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tomllib
from hashlib import sha256
from pathlib import Path

import grimp
import pytest

from deploy.cluster.images import inputs_digest
from deploy.cluster.oci_layout import Layout
from deploy.cluster.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
OURS = ("loramill", "store", "service", "trainer")


def stage(target: str) -> str:
    """The instructions of one stage of the Dockerfile."""
    return re.split(r"^FROM .* AS ", DOCKERFILE, flags=re.MULTILINE)[stages().index(target) + 1]


def stages() -> list[str]:
    return re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("target", ["service", "trainer"])
def test_an_image_holds_the_packages_that_its_program_imports_and_no_other_of_ours(target: str) -> None:
    graph = grimp.build_graph(*OURS)
    imported = {module.partition(".")[0] for module in graph.find_upstream_modules(target, as_package=True)} | {target}
    assert set(re.findall(r"^COPY --from=code /app/(\w+) \1$", stage(target), flags=re.MULTILINE)) == imported


@pytest.mark.parametrize("target", ["service", "trainer"])
def test_python_is_the_first_process_of_a_container_and_no_root(target: str) -> None:
    assert f'ENTRYPOINT ["python", "-m", "{target}"]' in stage(target)
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", stage(target), flags=re.MULTILINE)


def test_the_images_are_labelled_with_the_version_that_they_hold() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.findall(r'image\.version="(.*)"', DOCKERFILE) == [project["version"]] * 2
    assert re.findall(r'image\.licenses="(.*)"', DOCKERFILE) == [project["license"]] * 2


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree that has all that images are made of."""
    for name in ("Dockerfile", ".dockerignore", "LICENSE", "pyproject.toml", "constraints.txt", "README.md"):
        (tmp_path / name).write_text(name)
    for name in ("client/loramill", "store", "service", "trainer/builtin", "docs"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file.py").write_text(name)
    return tmp_path


@pytest.mark.parametrize("path", ["service/file.py", "trainer/builtin/new.py", "constraints.txt", "Dockerfile"])
def test_images_are_built_anew_when_what_they_are_made_of_changes(tree: Path, path: str) -> None:
    before = inputs_digest(tree)
    (tree / path).write_text("other")
    assert inputs_digest(tree) != before


@pytest.mark.parametrize("path", ["README.md", "docs/file.py", "service/__pycache__/file.pyc"])
def test_images_stay_when_something_else_changes(tree: Path, path: str) -> None:
    before = inputs_digest(tree)
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text("other")
    assert inputs_digest(tree) == before


def put(folder: Path, content: bytes) -> str:
    """Adds a blob; its digest."""
    digest = sha256(content).hexdigest()
    (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs" / "sha256" / digest).write_bytes(content)
    return f"sha256:{digest}"


def add_image(folder: Path, tag: str, *layers: bytes) -> str:
    """Adds an image, whose tag another may have had; the digest of its manifest."""
    config = put(folder, f"configuration of {layers}".encode())
    entries = [{"digest": put(folder, layer), "size": len(layer)} for layer in layers]
    manifest = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": config},
        "layers": entries,
    }
    digest = put(folder, json.dumps(manifest).encode())
    index = folder / "index.json"
    images = json.loads(index.read_text())["manifests"] if index.exists() else []
    for image in images:
        if image["annotations"].get("org.opencontainers.image.ref.name") == tag:
            image["annotations"] = {}
    images.append({"digest": digest, "annotations": {"org.opencontainers.image.ref.name": tag}})
    index.write_text(json.dumps({"manifests": images}))
    return digest


def test_a_node_gets_the_layers_that_it_lacks_and_no_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    image = add_image(tmp_path, "service", b"libraries", b"code")
    libraries, code = (layer.digest for layer in layout.layers(image))
    archive = io.BytesIO()
    layout.write_archive(image, {libraries}, archive)
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as tar:
        index = json.load(tar.extractfile("index.json") or io.BytesIO())
        names = tar.getnames()
    assert [entry["digest"] for entry in index["manifests"]] == [image]
    assert f"blobs/{code.replace(':', '/')}" in names
    assert f"blobs/{libraries.replace(':', '/')}" not in names


def test_blobs_go_with_the_last_image_that_has_them(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    old = add_image(tmp_path, "service", b"libraries", b"old code")
    new = add_image(tmp_path, "service", b"libraries", b"new code")
    removed = layout.remove_unused()
    assert layout.digest("service") == new
    assert (layout.is_whole(new), layout.path(old).exists()) == (True, False)
    assert removed > len(b"old code")
    assert layout.remove_unused() == 0


def test_a_node_and_the_layout_keep_one_copy_of_a_layer(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image = add_image(layout.folder, "service", b"libraries")
    [layer] = layout.layers(image)
    node = tmp_path / "node"
    put(node, b"libraries")
    layout.share(image, node / "blobs")
    assert (node / "blobs" / Path(*layer.digest.split(":"))).samefile(layout.path(layer.digest))


def test_the_compressed_size_is_what_gzip_makes_of_a_layer(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    [layer] = layout.layers(add_image(tmp_path, "service", bytes(1 << 20)))
    assert 1000 < layout.compressed_size(layer.digest) < 2000
