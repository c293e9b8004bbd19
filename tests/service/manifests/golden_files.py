"""The golden files; `python -m tests.service.manifests.golden_files` writes them anew."""

from __future__ import annotations

from pathlib import Path

import yaml

from service.manifests import Manifest
from tests.service.manifests.examples import GOLDEN

_FOLDER = Path(__file__).parent / "golden"


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (the signature is PyYAML's)
        return True


def golden_file(name: str) -> Path:
    return _FOLDER / f"{name}.yaml"


def as_yaml(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_WithoutAliases, sort_keys=False)


if __name__ == "__main__":
    for _name, _example in GOLDEN.items():
        golden_file(_name).write_text(as_yaml(_example.job))
