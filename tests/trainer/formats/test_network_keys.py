"""What headers call a network, for tools that show and sort by it; and the digest of the code that trained it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.trainer.formats.drawn import SOME_LAYERS, drawn_layers
from tests.trainer.small_training import config_of
from tests.trainer.tiny_base import tiny_unet
from trainer.adapters.weights import LayerWeights
from trainer.formats.code import code_digest
from trainer.formats.metadata import network_metadata
from trainer.formats.network_keys import network_keys

SPATIAL = tuple(path for path in SOME_LAYERS if path.endswith(("conv", "conv1")))
OTHERS = tuple(path for path in SOME_LAYERS if path not in SPATIAL)


def layers(paths: tuple[str, ...] = OTHERS, kind: str = "lora", **options: object) -> list[LayerWeights]:
    """All of rank 4 and alpha 2."""
    network = tiny_unet()
    return [layer for path in paths for layer in drawn_layers(network, "unet", [path], kind, **options)]


@pytest.mark.parametrize(
    ("kind", "options", "module", "arguments"),
    [
        ("lora", {}, "networks.lora", {"conv_dim": "4"}),
        ("lora", {"tucker": True}, "lycoris.kohya", {"algo": "locon", "conv_dim": "4", "use_tucker": "True"}),
        ("hada", {}, "lycoris.kohya", {"algo": "loha", "conv_dim": "4"}),
        ("hada", {"tucker": True}, "lycoris.kohya", {"algo": "loha", "conv_dim": "4", "use_tucker": "True"}),
        ("lokr", {}, "lycoris.kohya", {"algo": "lokr"}),
    ],
)
def test_a_network_is_called_what_its_tensors_are(
    kind: str, options: dict[str, object], module: str, arguments: dict[str, str]
) -> None:
    found = network_keys(layers(SOME_LAYERS, kind, **options))
    assert (found["ss_network_module"], found["ss_network_dim"], found["ss_network_alpha"]) == (module, "4", "2.0")
    assert json.loads(found["ss_network_args"]) == {"conv_alpha": "2.0", **arguments}, "small LoKrs are full"


def test_ranks_and_alphas_that_differ_are_called_dynamic() -> None:
    mixed = drawn_layers(tiny_unet(), "unet", OTHERS)
    found = network_keys(mixed)
    assert (found["ss_network_dim"], found["ss_network_alpha"]) == ("Dynamic", "Dynamic")
    assert found["ss_network_args"] == "{}", "no convolution has a rank of its own"


def test_a_full_lokr_has_no_rank() -> None:
    assert network_keys(layers(kind="lokr", full_matrix=True))["ss_network_dim"] == "None"


@pytest.mark.parametrize(
    ("adapter", "kind", "module", "arguments"),
    [
        (
            {"type": "ADAPTER_TYPE_LOKR", "lokr": {"factor": 8, "decompose_both": True}},
            "lokr",
            "lycoris.kohya",
            {"algo": "lokr", "factor": "8", "full_matrix": "False", "decompose_both": "True"},
        ),
        ({"type": "ADAPTER_TYPE_LOKR", "lokr": {"factor": 8}}, "lora", "networks.lora", {}),
        ({"type": "ADAPTER_TYPE_DYLORA", "dylora": {"unit": 2}}, "lora", "networks.dylora", {"unit": "2"}),
        ({"lora_plus_ratio": 16}, "lora", "networks.lora", {"loraplus_lr_ratio": "16.0"}),
        (
            {"rank_dropout": 0.25, "module_dropout": 0.5},
            "lora",
            "networks.lora",
            {"rank_dropout": "0.25", "module_dropout": "0.5"},
        ),
    ],
)
def test_what_tensors_do_not_tell_is_told_by_the_spec(
    adapter: dict[str, object], kind: str, module: str, arguments: dict[str, str]
) -> None:
    """A LoKr that was converted to a LoRA is called a LoRA."""
    found = network_metadata(config_of({"adapter": adapter}).adapter, layers(kind=kind))
    assert found["ss_network_module"] == module
    assert json.loads(found["ss_network_args"]) == arguments


def test_the_code_s_digest_is_what_two_commands_print(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("b.py", "a/c.py", "a.py"):
        (tmp_path / name).write_text(f"print({name!r})\n")
    (tmp_path / "notes.txt").write_text("no code")
    command = "find . -name '*.py' | LC_ALL=C sort | xargs sha256sum | sed 's, [.]/, ,' | sha256sum"
    printed = subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert code_digest(tmp_path) == printed.split()[0]


def test_other_code_has_another_digest(tmp_path: Path) -> None:
    digests = set()
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b.py", "2")):
        folder = tmp_path / str(len(digests))
        folder.mkdir()
        (folder / name).write_text(text)
        digests.add(code_digest(folder))
    assert len(digests) == 3
