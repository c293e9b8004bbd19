"""The five types: what each may ask for, what is filled in for it, and what a job takes from the adapter that it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loramill import v1
from loramill.spec import read_spec
from service import adapter_presets, plan, presets
from service.preset_table import DYLORA, LOCON, LOHA, LOKR, LORA
from service.validation import violations
from tests.service.api.specs import BASE, DATASET, found, spec_of, unset, valid, without_sources

ALL = v1.ADAPTER_TARGETS_ALL
ATTENTION = v1.ADAPTER_TARGETS_ATTENTION
INITIAL = "adapters/0000000000000000-final"


def rule(pattern: str = "unet.*", **fields: Any) -> v1.LayerRule:
    return v1.LayerRule(pattern=pattern, **fields)


def asked(**fields: Any) -> v1.AdapterSpec:
    return v1.AdapterSpec(**fields)


def spec_with(adapter: v1.AdapterSpec) -> v1.TrainingSpec:
    spec = valid()
    spec.adapter.CopyFrom(adapter)
    return spec


def resolved(initial: v1.Adapter | None = None, **fields: Any) -> v1.AdapterSpec:
    return presets.resolve(spec_with(asked(**fields)), BASE, 5, initial).adapter


OF_TYPES = [
    #                                       LORA   LOCON  LOHA   LOKR   DYLORA
    ({"rank_dropout": 0.1},                (True,  True,  True,  False, False)),
    ({"module_dropout": 0.1},              (True,  True,  True,  True,  True)),
    ({"tucker": True, "targets": ALL},     (False, True,  True,  True,  False)),
    ({"rank_stabilized": True},            (True,  True,  True,  False, False)),
    ({"lora_plus_ratio": 16.0},            (True,  True,  False, False, True)),
    ({"lokr": v1.LokrSpec(factor=4)},      (False, False, False, True,  False)),
    ({"dylora": v1.DyloraSpec(unit=4)},    (False, False, False, False, True)),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "allowed"), OF_TYPES, ids=lambda value: next(iter(value)) if value else "")
def test_an_option_is_refused_for_a_type_that_does_not_have_it(
    fields: dict[str, Any], allowed: tuple[bool, ...]
) -> None:
    option = next(iter(fields))
    for type_, good in zip((LORA, LOCON, LOHA, LOKR, DYLORA), allowed, strict=True):
        spec = spec_with(asked(type=type_, **fields))
        assert found(spec) == ({} if good else {f"adapter.{option}": "CONFLICT"}), type_


def test_a_full_lokr_says_why_it_is_not_rank_stabilized() -> None:
    (violation,) = violations(spec_with(asked(type=LOKR, rank_stabilized=True)), BASE, DATASET)
    assert violation.description == (
        "spec.adapter.rank_stabilized is set, but LOKR of full matrices has no rank to divide by; "
        "leave it out, or choose type LORA, LOCON or LOHA."
    )


@pytest.mark.parametrize(
    ("adapter", "expected"),
    [
        (asked(type=LOCON, targets=ATTENTION), {"targets": "CONFLICT"}),
        (asked(type=LOCON, targets=ALL, conv_rank=4), {}),
        (asked(type=LOCON, conv_rank=4, tucker=True), {}),
        (asked(conv_rank=4), {"conv_rank": "CONFLICT"}),
        (asked(type=LOHA, tucker=True), {"tucker": "CONFLICT"}),
        (asked(type=LOHA, tucker=False), {}),
        (asked(type=LOKR, rank=8), {}),
        (
            asked(type=LOKR, rank=8, rules=[rule(alpha=1.0)], lokr=v1.LokrSpec(full_matrix=True)),
            {"rank": "CONFLICT", "rules[0].alpha": "CONFLICT"},
        ),
        (
            asked(type=LOKR, lokr=v1.LokrSpec(full_matrix=True, decompose_both=True)),
            {"lokr.decompose_both": "CONFLICT"},
        ),
        (asked(type=LOKR, lokr=v1.LokrSpec(factor=-1)), {}),
        (asked(type=LOKR, lokr=v1.LokrSpec(factor=1)), {"lokr.factor": "OUT_OF_RANGE"}),
        (asked(type=LOKR, lokr=v1.LokrSpec(factor=129)), {"lokr.factor": "OUT_OF_RANGE"}),
        (asked(type=DYLORA, rank=12, dylora=v1.DyloraSpec(unit=5)), {"dylora.unit": "CONFLICT"}),
        (asked(type=DYLORA, rank=12, dylora=v1.DyloraSpec(unit=6)), {}),
        (asked(type=DYLORA, dylora=v1.DyloraSpec(unit=0)), {"dylora.unit": "OUT_OF_RANGE"}),
        (
            asked(type=DYLORA, rank=12, conv_rank=4, targets=ALL, dylora=v1.DyloraSpec(unit=6)),
            {"dylora.unit": "CONFLICT"},
        ),
        (asked(type=DYLORA, rank=12, rules=[rule(rank=4)], dylora=v1.DyloraSpec(unit=6)), {"dylora.unit": "CONFLICT"}),
        (asked(rules=[rule(rank=0)]), {"rules[0].rank": "OUT_OF_RANGE"}),
        (asked(rules=[rule(rank=1024, alpha=4096.0, learning_rate=1.0)]), {}),
        (asked(rules=[rule(rank=1025)]), {"rules[0].rank": "OUT_OF_RANGE"}),
        (asked(rules=[rule(alpha=0.0)]), {"rules[0].alpha": "OUT_OF_RANGE"}),
        (asked(rules=[rule(alpha=4097.0)]), {"rules[0].alpha": "OUT_OF_RANGE"}),
        (asked(rules=[rule(learning_rate=0.0)]), {"rules[0].learning_rate": "OUT_OF_RANGE"}),
        (asked(rules=[rule(learning_rate=1.1)]), {"rules[0].learning_rate": "OUT_OF_RANGE"}),
        (asked(rules=[rule("x" * 300)]), {}),
        (asked(rules=[rule("x" * 301)]), {"rules[0].pattern": "OUT_OF_RANGE"}),
        (asked(rules=[rule("")]), {"rules[0].pattern": "REQUIRED"}),
        (asked(rules=[rule(), rule("*"), rule()]), {"rules[2].pattern": "CONFLICT"}),
        (asked(rules=[rule(train=False, rank=4)]), {"rules[0].rank": "CONFLICT"}),
        (asked(rules=[rule(train=False)]), {}),
        (asked(rules=[rule(str(number)) for number in range(200)]), {}),
        (asked(rules=[rule(str(number)) for number in range(201)]), {"rules": "OUT_OF_RANGE"}),
        (asked(type=77, lokr=v1.LokrSpec(factor=4)), {"type": "UNKNOWN_VALUE"}),
        (asked(initial_adapter="shapes"), {"initial_adapter": "INVALID_NAME"}),
        (asked(initial_adapter=INITIAL), {"initial_adapter": "RESOURCE_NOT_FOUND"}),
    ],
)
def test_what_the_adapters_fields_ask_of_each_other(adapter: v1.AdapterSpec, expected: dict[str, str]) -> None:
    assert found(spec_with(adapter)) == {f"adapter.{field}": reason for field, reason in expected.items()}


@pytest.mark.parametrize(
    ("fields", "initial", "expected"),
    [
        ({}, LOHA, {}),
        ({"type": LOHA}, LORA, {"type": "CONFLICT"}),
        ({"type": DYLORA}, LORA, {}),
        ({"type": DYLORA}, LOCON, {}),
        ({"type": LORA}, DYLORA, {}),
        ({"type": LORA}, LOKR, {"type": "CONFLICT"}),
        ({"rank_dropout": 0.1}, LOKR, {"rank_dropout": "CONFLICT"}),
        ({"rank_dropout": 0.1, "dropout": 0.1, "module_dropout": 0.1, "lora_plus_ratio": 4.0}, LORA, {}),
        ({"rules": [rule(learning_rate=1e-4), rule("*", train=False)]}, LORA, {}),
        ({"type": DYLORA, "dylora": v1.DyloraSpec(unit=8)}, LORA, {}),
        ({"type": DYLORA, "dylora": v1.DyloraSpec(unit=5)}, LORA, {"dylora.unit": "CONFLICT"}),
        (
            {"rank": 4, "alpha": 4.0, "conv_rank": 4, "conv_alpha": 4.0, "targets": ALL, "rank_stabilized": True},
            LORA,
            dict.fromkeys(("rank", "alpha", "conv_rank", "conv_alpha", "targets", "rank_stabilized"), "CONFLICT"),
        ),
        ({"tucker": True, "lokr": v1.LokrSpec(factor=4)}, LOKR, {"tucker": "CONFLICT", "lokr": "CONFLICT"}),
        (
            {"rules": [rule(rank=4, alpha=2.0)]},
            LORA,
            {"rules[0].rank": "CONFLICT", "rules[0].alpha": "CONFLICT"},
        ),
    ],
)
def test_a_job_that_goes_on_takes_its_size_from_the_file(
    fields: dict[str, Any], initial: v1.AdapterType.ValueType, expected: dict[str, str]
) -> None:
    start = v1.Adapter(name=INITIAL, type=initial, rank=16)
    spec = spec_with(asked(initial_adapter=INITIAL, **fields))
    assert found(spec, start) == {f"adapter.{field}": reason for field, reason in expected.items()}
    if not expected:
        done = presets.resolve(spec, BASE, 5, start)
        assert done.adapter.type == fields.get("type", initial)
        assert [
            name for name in adapter_presets.TAKEN_FROM_FILE if name != "targets" and done.adapter.HasField(name)
        ] == []
        assert done.adapter.targets == v1.ADAPTER_TARGETS_UNSPECIFIED
        assert done.adapter.dropout == fields.get("dropout", 0)
        assert found(done, start) == {}
        assert without_sources(presets.resolve(done, BASE, 6, start)) == without_sources(done)


DYLORAS = {"DyloraSpec.unit", "DyloraSpec.mode"}
LOKRS = {"LokrSpec.factor", "LokrSpec.full_matrix", "LokrSpec.decompose_both"}
RANKS = {"AdapterSpec.rank", "AdapterSpec.alpha", "AdapterSpec.conv_rank", "AdapterSpec.conv_alpha"}
EITHER = {"ComputeNeeds.spot"}
UNASKED = {
    "CaptionSpec.variants",
    "ComputeFallback.after",
    "DatasetSpec.crop_variants",
    "PivotalSpec.encoders",
    "PivotalSpec.learning_rate",
    "PivotalSpec.tokens",
}
"""What varying captions, other classes, random crops and pivotal tuning have alone."""
OF_OTHER_OPTIONS = {"NoiseSpec", "LossSpec", "OptimizationSpec", "ValidationSpec"}
"""What options that were not chosen leave open stands in test_fitting_spec."""
OF_OTHER_FAMILIES = {"TargetSpec.train", "TargetSpec.learning_rate", "TrainingSpec.zero_terminal_snr"}
"""The second text encoder's, and what a base without a schedule of that kind leaves open."""
LACKS = {
    LORA: {"AdapterSpec.tucker"} | LOKRS | DYLORAS,
    LOCON: LOKRS | DYLORAS,
    LOHA: {"AdapterSpec.lora_plus_ratio"} | LOKRS | DYLORAS,
    LOKR: RANKS | {"AdapterSpec.rank_dropout", "AdapterSpec.rank_stabilized", "AdapterSpec.lora_plus_ratio"} | DYLORAS,
    DYLORA: {"AdapterSpec.tucker", "AdapterSpec.rank_dropout", "AdapterSpec.rank_stabilized"} | LOKRS,
}


@pytest.mark.parametrize("type_", LACKS)
def test_nothing_is_left_open_but_what_the_type_lacks_and_only_the_trainer_can_know(
    type_: v1.AdapterType.ValueType,
) -> None:
    full = spec_of(adapter__type=type_, adapter__targets=ALL, concept__class_words="dog")
    done = presets.resolve(full, BASE, seed=5)
    left = {name for name in unset(done) if name.partition(".")[0] not in OF_OTHER_OPTIONS}
    assert left == EITHER | OF_OTHER_FAMILIES | UNASKED | LACKS[type_]
    assert found(done) == {}
    assert without_sources(presets.resolve(done, BASE, seed=6)) == without_sources(done)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"rank": 16, "alpha": 16, "targets": v1.ADAPTER_TARGETS_ATTENTION_MLP}),
        ({"type": LOCON}, {"rank": 16, "alpha": 8, "conv_rank": 8, "conv_alpha": 4, "targets": ALL}),
        ({"type": LOCON, "rank": 1}, {"alpha": 0.5, "conv_rank": 1, "conv_alpha": 0.5}),
        ({"rank": 8, "alpha": 4.0, "targets": ALL, "conv_rank": 2}, {"conv_alpha": 1}),
        ({"type": LOHA}, {"rank": 8, "alpha": 4}),
        ({"type": DYLORA}, {"rank": 64, "alpha": 64}),
    ],
)
def test_each_type_has_its_own_sizes(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    adapter = resolved(**fields)
    assert {name: getattr(adapter, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "full"),
    [
        ({}, True),
        ({"lokr": v1.LokrSpec(factor=4)}, True),
        ({"lokr": v1.LokrSpec(full_matrix=False)}, False),
        ({"rank": 4}, False),
        ({"tucker": True, "targets": ALL}, False),
        ({"lokr": v1.LokrSpec(decompose_both=True)}, False),
        ({"rules": [rule(rank=2)]}, False),
    ],
)
def test_lokrs_matrices_are_full_unless_something_needs_a_rank(fields: dict[str, Any], full: bool) -> None:
    adapter = resolved(type=LOKR, **fields)
    assert (adapter.lokr.full_matrix, adapter.HasField("rank")) == (full, not full)


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({}, 16),
        ({"rank": 16}, 4),
        ({"rank": 3}, 1),
        ({"rank": 7}, 1),
        ({"rank": 24}, 6),
        ({"rank": 24, "rules": [rule(rank=16)]}, 4),
        ({"rank": 24, "rules": [rule(rank=9)]}, 1),
        ({"rank": 12, "targets": ALL, "conv_rank": 8}, 2),
    ],
)
def test_dyloras_unit_is_the_largest_that_gives_four_ranks(fields: dict[str, Any], unit: int) -> None:
    assert resolved(type=DYLORA, **fields).dylora.unit == unit


def test_a_dylora_that_goes_on_has_a_unit_of_the_files_rank() -> None:
    start = v1.Adapter(name=INITIAL, type=LORA, rank=32)
    assert resolved(start, type=DYLORA, initial_adapter=INITIAL).dylora.unit == 8


@pytest.mark.parametrize(
    ("adapter", "part"),
    [
        (asked(type=LOHA, rank=31), ""),
        (asked(type=LOHA, rank=32), "type LOHA"),
        (asked(type=LOCON, rank=32, conv_rank=8), "type LOCON"),
        (asked(rank=128), ""),
        (asked(type=LOKR), ""),
        (asked(rank=16, alpha=16.0, rank_stabilized=True), ""),
        (asked(rank=16, alpha=32.0, rank_stabilized=True), "a scale of 8"),
        (asked(rules=[rule(learning_rate=0.01)]), "adapter.rules[0].learning_rate is 0.01"),
    ],
)
def test_what_deserves_attention_of_an_adapter_is_said(adapter: v1.AdapterSpec, part: str) -> None:
    sentences = plan.warnings(presets.resolve(spec_with(adapter), BASE, 5))
    assert [part in sentence for sentence in sentences] == ([True] if part else [])


def test_the_examples_of_the_documentation_are_accepted() -> None:
    page = (Path(__file__).parents[3] / "docs/cli.md").read_text()
    specs = [read_spec(block.partition("```")[0]) for block in page.split("```yaml\n")[1:]]
    assert {spec.adapter.type for spec in specs} >= {LORA, LOCON, LOHA, LOKR, DYLORA}
    given = {field.name for spec in specs for field, _ in spec.adapter.ListFields()}
    assert given == {field.name for field in v1.AdapterSpec.DESCRIPTOR.fields}
    for spec in specs:
        initial = v1.Adapter(type=LOHA, rank=8) if spec.adapter.initial_adapter else None
        assert found(spec_with(spec.adapter), initial) == {}, spec.adapter
