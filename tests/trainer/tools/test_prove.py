"""The proof: every option passes, and what is wrong does not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import typer
from torch import Tensor

from trainer.adapters import dylora
from trainer.adapters.loha import Loha
from trainer.adapters.mathematics import Tensors
from trainer.adapters.targets import Layer
from trainer.tools import prove as tool
from trainer.tools.gradients import gradient_error
from trainer.tools.prove import Row, prove, prove_adapters
from trainer.tools.prove_cases import CASES, Case, adapted, inputs

OF_EACH_OPTION = {(case.config.type, case.option): case for case in reversed(CASES)}
"""On the first kind of layer that has the option, which is the cheapest."""

LOHA = OF_EACH_OPTION["loha", "rank 8, alpha 4"]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "_LEAST_ROUNDS", 1)
    monkeypatch.setattr(tool, "_SECONDS", 0.0)


def row(case: Case) -> Row:
    (only,) = prove([case])
    return only


@pytest.mark.parametrize("case", OF_EACH_OPTION.values(), ids=[" ".join(key) for key in OF_EACH_OPTION])
def test_every_option_passes(case: Case) -> None:
    found = row(case)
    assert found.passes, found
    assert found.time > 0
    assert 1e-4 < found.bf16 < 1e-2, "bf16 keeps 8 bits"


def test_every_type_layer_and_option_is_a_row() -> None:
    assert {case.config.type for case in CASES} == {"lora", "locon", "loha", "lokr", "dylora"}
    layers = {"linear", "conv 1x1", "conv 3x3", "conv 3x3, stride 2"}
    for type_, option in OF_EACH_OPTION:
        rows = [case for case in CASES if (case.config.type, case.option) == (type_, option)]
        spatial = {layer for layer in layers if "3x3" in layer}
        assert {case.layer for case in rows} == (spatial if rows[0].config.tucker else layers)


def test_a_merge_that_is_not_the_forward_pass_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Loha.delta
    monkeypatch.setattr(Loha, "delta", lambda self, tensors, layer: right(self, tensors, layer) * 1.0001)
    found = row(LOHA)
    assert found.merged > 1e-5 > found.file
    assert not found.passes


def test_a_wrong_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Loha.forward

    def forward(self: Loha, x: Tensor, tensors: Tensors, layer: Layer, scale: float) -> Tensor:
        without = {**tensors, "hada_w2_b": tensors["hada_w2_b"].detach()}
        return right(self, x, without, layer, scale)

    monkeypatch.setattr(Loha, "forward", forward)
    found = row(LOHA)
    assert found.gradient == math.inf
    assert not found.passes


def test_gradient_where_none_should_be_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """DyLoRA's frozen mode with the gradient of the joint one."""
    case = OF_EACH_OPTION["dylora", "frozen, rank 8 of 16"].small()
    layer = Layer(48, 36)

    def error() -> float:
        return gradient_error(adapted(case, layer, torch.float64), inputs(layer, 2, torch.float64))

    assert error() < 1e-8
    monkeypatch.setattr(dylora, "newest_block", lambda tensors, cut, _unit, _mode: dylora.truncated(tensors, cut))
    assert error() > 0.1


@pytest.mark.parametrize("name", ["merged", "file", "gradient"])
@pytest.mark.parametrize("value", [1.0, math.nan])
def test_no_error_passes_beyond_its_bound(name: str, value: float) -> None:
    good = Row(case=LOHA, merged=0.0, file=0.0, gradient=0.0, bf16=1e-3, time=1.0)
    assert good.passes
    assert not replace(good, **{name: value}).passes


@pytest.mark.parametrize("passes", [True, False])
def test_the_exit_code_says_whether_all_pass(
    passes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row(case=LOHA, merged=0.0 if passes else 1e-4, file=0.0, gradient=0.0, bf16=1e-3, time=1.25)]
    monkeypatch.setattr(tool, "prove", lambda _cases: rows)
    monkeypatch.setenv("COLUMNS", "140")
    if passes:
        prove_adapters()
    else:
        with pytest.raises(typer.Exit) as caught:
            prove_adapters()
        assert caught.value.exit_code == 1
    printed = capsys.readouterr().out
    assert "rank 8, alpha 4" in printed
    assert "1.25" in printed
    assert ("1 of 1 pass" if passes else "FAIL") in printed
