"""What is wrong with the adapter of a spec, beyond the bounds of its single fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loramill import v1
from service import keys
from service.adapter_presets import (
    OPTIONS,
    TAKEN_FROM_FILE,
    has_full_matrices,
    ranks_of,
    rule_sizes,
    sizes_asked_for,
    targets_of,
    type_of,
)
from service.errors import Violation
from service.preset_table import DYLORA, LOCON, LOHA, LOKR, LORA, AdapterPreset

_OWN_SPECS = {"lokr": (LOKR,), "dylora": (DYLORA,)}
_TYPES_OF = {name: types for name, (types, _) in OPTIONS.items()} | _OWN_SPECS

_LACKS = {
    "rank_dropout": {LOKR: "has no sum of rank components", DYLORA: "draws its rank anew in each step"},
    "tucker": {LORA: "with Tucker's core is called LOCON", DYLORA: "could not cut Tucker's core off at a smaller rank"},
    "rank_stabilized": {LOKR: "of full matrices has no rank to divide by", DYLORA: "is scaled by the rank it draws"},
    "lora_plus_ratio": {LOHA: "has no `down` and `up`", LOKR: "has no `down` and `up`"},
}
"""Why a type does not have an option, to follow its name."""

_GOES_ON_FROM = {LORA: (LORA, DYLORA), LOCON: (LOCON,), LOHA: (LOHA,), LOKR: (LOKR,), DYLORA: (DYLORA, LORA, LOCON)}
"""Types of files that a type can go on from: where the tensors are the same."""


@dataclass(frozen=True)
class _Asked:
    """The adapter that a spec asks for, and what it is to go on from."""

    adapter: v1.AdapterSpec
    preset: AdapterPreset
    initial: v1.Adapter | None
    path: str

    @property
    def type(self) -> v1.AdapterType.ValueType:
        return type_of(self.adapter, self.initial)

    @property
    def anew(self) -> bool:
        return not self.adapter.initial_adapter

    def conflict(self, field: str, sentence: str) -> Violation:
        """`sentence` follows the field's full name."""
        return Violation(f"{self.path}.{field}", f"{self.path}.{field} {sentence}", "CONFLICT")


def violations_of_adapter(
    adapter: v1.AdapterSpec, preset: AdapterPreset, initial: v1.Adapter | None, path: str
) -> Iterator[Violation]:
    """`initial` is what `initial_adapter` names; None where there is no such adapter. `preset` is for the adapter's type."""
    asked = _Asked(adapter, preset, initial, path)
    yield from _rules_of_layers(asked)
    yield from _initial_adapter(asked)
    type_is_known = asked.type in v1.AdapterType.values() and (asked.anew or initial is not None)
    for rule in _RULES_OF_TYPES if type_is_known else ():
        yield from rule(asked)


def _options_of_other_types(asked: _Asked) -> Iterator[Violation]:
    for field, types in _TYPES_OF.items():
        if asked.type not in types and _is_set(asked.adapter, field) and (asked.anew or field not in TAKEN_FROM_FILE):
            why = _LACKS.get(field, {}).get(asked.type, "has nothing of the kind")
            yield asked.conflict(
                field, f"is set, but {_word(asked.type)} {why}; leave it out, or choose type {_words(types)}."
            )


def _targets_of_locon(asked: _Asked) -> Iterator[Violation]:
    fewer = (v1.ADAPTER_TARGETS_ATTENTION, v1.ADAPTER_TARGETS_ATTENTION_MLP, v1.ADAPTER_TARGETS_TRANSFORMER)
    if asked.anew and asked.type == LOCON and asked.adapter.targets in fewer:
        targets = v1.AdapterTargets.Name(asked.adapter.targets).removeprefix("ADAPTER_TARGETS_")
        yield asked.conflict(
            "targets",
            f"is {targets}, but LOCON adapts the residual blocks' convolutions too, which is ALL; leave it out, or choose "
            "type LORA.",
        )


def _options_of_convolutions(asked: _Asked) -> Iterator[Violation]:
    if not asked.anew or asked.type == LOCON or targets_of(asked.adapter, asked.preset) == v1.ADAPTER_TARGETS_ALL:
        return
    fields = [name for name in ("conv_rank", "conv_alpha") if _is_set(asked.adapter, name)]
    if asked.adapter.tucker and asked.type in _TYPES_OF["tucker"]:
        fields.append("tucker")
    for field in fields:
        yield asked.conflict(field, "is set, but only targets ALL has 3x3 convolutions; choose ALL, or leave it out.")


def _sizes_of_full_matrices(asked: _Asked) -> Iterator[Violation]:
    if asked.anew and asked.type == LOKR and has_full_matrices(asked.adapter):
        for field in sizes_asked_for(asked.adapter):
            yield asked.conflict(
                field, "is set, but full matrices have no rank; leave it out, or set lokr.full_matrix to false."
            )


def _unit_of_dylora(asked: _Asked) -> Iterator[Violation]:
    unit = asked.adapter.dylora.unit
    if asked.type != DYLORA or unit < 1:
        return
    for field, rank in ranks_of(asked.adapter, asked.preset, asked.initial).items():
        if rank % unit:
            yield asked.conflict(
                "dylora.unit",
                f"is {unit}, but must divide every rank, and {field} has {rank}; choose a divisor of all ranks.",
            )


def _rules_of_layers(asked: _Asked) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for place, rule in enumerate(asked.adapter.rules[:200]):
        field = f"rules[{place}]"
        if not rule.pattern:
            text = f"{asked.path}.{field}.pattern is required; name layers, such as 'unet.up_blocks.*'."
            yield Violation(f"{asked.path}.{field}.pattern", text, "REQUIRED")
        elif rule.pattern in first:
            yield asked.conflict(
                f"{field}.pattern", f"is that of rules[{first[rule.pattern]}] again, which counts; remove one of them."
            )
        first.setdefault(rule.pattern, place)
        if rule.HasField("train") and not rule.train:
            for name in ("rank", "alpha", "learning_rate"):
                if rule.HasField(name):
                    yield asked.conflict(
                        f"{field}.{name}", "is set, but train is false there; leave it out, or set train to true."
                    )


def _initial_adapter(asked: _Asked) -> Iterator[Violation]:
    name, field = asked.adapter.initial_adapter, f"{asked.path}.initial_adapter"
    if asked.anew:
        return
    if keys.adapter_of_name(name) is None:
        text = f"{field} is {name[:80]!r}, but must be adapters/<id>, as a job or an upload gave it."
        yield Violation(field, text, "INVALID_NAME")
    elif asked.initial is None:
        text = f"{field} is {name!r}, which does not exist; list the adapters, or upload it."
        yield Violation(field, text, "RESOURCE_NOT_FOUND")
    elif asked.initial.type not in _GOES_ON_FROM.get(asked.type, (asked.initial.type,)):
        yield asked.conflict(
            "type",
            f"is {_word(asked.type)}, but {name} is of type {_word(asked.initial.type)}, whose tensors are others; "
            "leave it out, or begin anew.",
        )
    for size in (*(name for name in TAKEN_FROM_FILE if _is_set(asked.adapter, name)), *rule_sizes(asked.adapter)):
        yield asked.conflict(
            size, "is set, but a job with an initial_adapter takes it from that adapter's file; leave it out."
        )


def _is_set(adapter: v1.AdapterSpec, field: str) -> bool:
    return bool(adapter.targets) if field == "targets" else adapter.HasField(field)  # type: ignore[arg-type]


def _word(adapter_type: v1.AdapterType.ValueType) -> str:
    return v1.AdapterType.Name(adapter_type).removeprefix("ADAPTER_TYPE_")


def _words(types: Sequence[v1.AdapterType.ValueType]) -> str:
    *others, last = map(_word, types)
    return f"{', '.join(others)} or {last}" if others else last


_RULES_OF_TYPES = (
    _options_of_other_types,
    _targets_of_locon,
    _options_of_convolutions,
    _sizes_of_full_matrices,
    _unit_of_dylora,
)
