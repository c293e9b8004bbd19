"""The command line as a whole: quick help, sentences, exit codes."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.trainer.tools.conftest import Tool, layers_of_kind, names_in, put
from trainer.tools import convert, writing

HELP = """
import sys
from trainer.__main__ import main
code = main(sys.argv[1:])
loaded = {"torch", "diffusers", "transformers", "peft"} & set(sys.modules)
sys.exit(f"loaded {loaded}" if loaded else code)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["--help"], 0, "prove-adapters"),
        (["resize", "--help"], 0, "--keep"),
        ([], 2, "Usage"),
        (["resise", "a"], 2, "No such command 'resise'"),
        (["convert", "a", "--out", "b", "--to", "onnx"], 2, "'onnx' is not one of 'kohya', 'diffusers', 'peft'"),
        (["convert", "a", "--to", "kohya"], 2, "Missing option '--out'"),
        (["resize", "a", "--out", "b", "--rank", "0"], 2, "greater than or equal to 1"),
        (["resize", "a", "--out", "b", "--keep", "2"], 2, "less than or equal to 1"),
    ],
)
def test_help_and_wrong_command_lines(arguments: list[str], code: int, expected: str, tool: Tool) -> None:
    ended = tool(*arguments)
    assert ended.code == code
    assert expected in ended.out + ended.err


def test_help_loads_no_large_library() -> None:
    subprocess.run([sys.executable, "-c", HELP, "convert", "--help"], check=True, capture_output=True)


def corrupt(path: Path) -> None:
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")


def pickled(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))


def absent(_: Path) -> None:
    pass


def truncated(path: Path) -> None:
    save_file({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.ones(4, 8)}, path)
    path.write_bytes(path.read_bytes()[:-8])


def strange(path: Path) -> None:
    save_file({"something": torch.ones(2)}, path)


def halved(path: Path) -> None:
    save_file({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.ones(4, 8)}, path)


HOSTILE = {
    corrupt: "speaks of a header of 1099511627776 bytes",
    pickled: "is a zip, as torch.save writes it, not safetensors",
    absent: "cannot be read",
    truncated: "is no sound safetensors file",
    strange: "holds no adapter",
    halved: "lacks lora_up",
}


@pytest.mark.parametrize("arguments", [["convert", "--to", "kohya"], ["resize", "--rank", "4"], ["merge"], ["inspect"]])
@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_files_are_refused_by_every_tool_alike(
    make: Callable[[Path], None], arguments: list[str], tool: Tool, tmp_path: Path
) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    make(path)
    before = names_in(tmp_path)
    ended = tool(*arguments, path, *([] if arguments == ["inspect"] else ["--out", out]))
    assert ended.code == 64
    assert ended.out == ""
    assert HOSTILE[make] in ended.err
    assert all(line.startswith("Error: ") and line.endswith(".") for line in ended.err.splitlines())
    assert names_in(tmp_path) == before


def test_a_bug_is_told_as_ours(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, unet: torch.nn.Module, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(convert, "read_adapter", broken)
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet))
    ended = tool("convert", path, "--to", "kohya", "--out", tmp_path / "out.safetensors")
    assert ended.code == 1
    assert "An error in Loramill: ZeroDivisionError: of all things." in ended.err


def test_a_full_disk_is_told(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, unet: torch.nn.Module, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "out.safetensors")

    monkeypatch.setattr(writing, "write", full)
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet))
    ended = tool("convert", path, "--to", "kohya", "--out", tmp_path / "out.safetensors")
    assert (ended.code, ended.out) == (69, "")
    assert "No space left on device: 'out.safetensors'" in ended.err
    assert names_in(tmp_path) == ["a.safetensors"]
