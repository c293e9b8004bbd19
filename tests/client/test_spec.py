from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loramill import v1
from loramill.errors import SpecError
from loramill.scalars import enum_of, format_duration, is_duration, parse_duration
from loramill.spec import dump_spec, read_spec

COMPLETE = """
display_name: Grumpy cat
base_model: shapes
dataset:
  dataset: abc
  subsets:
    - path_prefix: 10_cat/
      repeats: 3
      captions: {source: file_or_fixed, text: a cat}
concept: {kind: new, activation_tag: gr2mpy}
adapter:
  type: lora
  rank: 8
  targets: attention_mlp
unet: {learning_rate: 1e-4}
text_encoder: {train: yes}
optimization: {epochs: 3, seed: 9223372036854775807, precision: bf16}
previews:
  prompts:
    - {prompt: "a cat, sitting", seed: 1}
deadline: 1h30m
"""


def _twice(rate: float) -> v1.TrainingSpec:
    target = v1.TargetSpec(learning_rate=rate)
    return v1.TrainingSpec(unet=target, text_encoder=target)


def problems_of(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(SpecError) as raised:
        read_spec(text, overrides)
    return raised.value.problems


def test_reads_every_kind_of_field() -> None:
    spec = read_spec(COMPLETE)
    assert spec.base_model == "baseModels/shapes"
    assert spec.dataset.dataset == "datasets/abc"
    assert spec.dataset.subsets[0].repeats == 3
    assert spec.dataset.subsets[0].captions.source == v1.CAPTION_SOURCE_FILE_OR_FIXED
    assert spec.adapter.targets == v1.ADAPTER_TARGETS_ATTENTION_MLP
    assert spec.unet.learning_rate == 1e-4
    assert spec.text_encoder.train is True
    assert spec.optimization.seed == 2**63 - 1
    assert spec.previews.prompts[0].prompt == "a cat, sitting"
    assert spec.deadline.seconds == 5400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dataset: abc", v1.TrainingSpec(dataset=v1.DatasetSpec(dataset="datasets/abc"))),
        ("dataset: datasets/abc", v1.TrainingSpec(dataset=v1.DatasetSpec(dataset="datasets/abc"))),
        ("dataset: {dataset: abc}", v1.TrainingSpec(dataset=v1.DatasetSpec(dataset="datasets/abc"))),
        ("base_model: baseModels/x", v1.TrainingSpec(base_model="baseModels/x")),
        ("display_name: 2024", v1.TrainingSpec(display_name="2024")),
        ("display_name: no", v1.TrainingSpec(display_name="no")),
        ('display_name: ""', v1.TrainingSpec()),
        ("adapter: {type: LORA}", v1.TrainingSpec(adapter=v1.AdapterSpec(type=v1.ADAPTER_TYPE_LORA))),
        ("adapter: {type: ADAPTER_TYPE_LORA}", v1.TrainingSpec(adapter=v1.AdapterSpec(type=v1.ADAPTER_TYPE_LORA))),
        ("adapter: {rank: 0}", v1.TrainingSpec(adapter=v1.AdapterSpec(rank=0))),
        ("adapter: {alpha: 8}", v1.TrainingSpec(adapter=v1.AdapterSpec(alpha=8.0))),
        (
            "adapter: {rules: [{pattern: '*.attn2.*', train: no}, {pattern: text_encoder.*, rank: 4}]}",
            v1.TrainingSpec(
                adapter=v1.AdapterSpec(
                    rules=[
                        v1.LayerRule(pattern="*.attn2.*", train=False),
                        v1.LayerRule(pattern="text_encoder.*", rank=4),
                    ]
                )
            ),
        ),
        (
            "adapter: {initial_adapter: abc-final, dylora: {unit: 4, mode: joint}, lokr: {factor: -1}}",
            v1.TrainingSpec(
                adapter=v1.AdapterSpec(
                    initial_adapter="adapters/abc-final",
                    dylora=v1.DyloraSpec(unit=4, mode=v1.DYLORA_MODE_JOINT),
                    lokr=v1.LokrSpec(factor=-1),
                )
            ),
        ),
        ("optimization: {steps: 1e3}", v1.TrainingSpec(optimization=v1.OptimizationSpec(steps=1000))),
        ("optimization: {steps: 1_000}", v1.TrainingSpec(optimization=v1.OptimizationSpec(steps=1000))),
        ("concept: {}", v1.TrainingSpec(concept=v1.ConceptSpec())),
        ("concept:\nadapter: {rank: 1}", v1.TrainingSpec(adapter=v1.AdapterSpec(rank=1))),
        ("previews: {prompts:}", v1.TrainingSpec(previews=v1.PreviewSpec())),
        ("unet: &x {learning_rate: 0.1}\ntext_encoder: *x", _twice(0.1)),
    ],
)
def test_reads(text: str, expected: v1.TrainingSpec) -> None:
    assert read_spec(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("adaptor: {}", "line 1: adaptor is not a field; the nearest is adapter"),
        ("adapter:\n  rnak: 3", "line 2: adapter.rnak is not a field; the nearest is adapter.rank"),
        ("rank: 3", "line 1: rank is not a field here; there is adapter.rank and adapter.rules[].rank"),
        (
            "adapter: {zzz: 1}",
            "line 1: adapter.zzz is not a field; adapter has type, rank, alpha, conv_rank, conv_alpha, targets, dropout, "
            "rank_dropout, module_dropout, rules, tucker, rank_stabilized, lora_plus_ratio, lokr, dylora, initial_adapter",
        ),
        (
            "adapter: {rules: [{pattern: a, lerning_rate: 1}]}",
            "line 1: adapter.rules[0].lerning_rate is not a field; the nearest is adapter.rules[0].learning_rate",
        ),
        (
            "adapter: {rules: {pattern: a}}",
            "line 1: adapter.rules must be a list, each item after a `- `, not a group of fields",
        ),
        (
            "adapter: {lokr: {factr: 8}}",
            "line 1: adapter.lokr.factr is not a field; the nearest is adapter.lokr.factor",
        ),
        (
            "adapter: {dylora: {mode: both}}",
            "line 1: adapter.dylora.mode must be one of frozen, joint, not 'both'",
        ),
        (
            "dataset: {dataset: a, subsets: [{}, {repaets: 2}]}",
            "line 1: dataset.subsets[1].repaets is not a field; the nearest is dataset.subsets[1].repeats",
        ),
        ("adapter: {rank: many}", "line 1: adapter.rank must be a whole number, not 'many'"),
        ("adapter: {rank: 1.5}", "line 1: adapter.rank must be a whole number, not '1.5'"),
        ("adapter: {rank: '8'}", "line 1: adapter.rank must be a whole number without quotation marks, not '8'"),
        ("adapter: {rank: [8]}", "line 1: adapter.rank must be a whole number, not a list"),
        (
            "adapter: {rank: 3000000000}",
            "line 1: adapter.rank must be a whole number from -2147483648 to 2147483647, not '3000000000'",
        ),
        ("adapter: {rank:}", "line 1: adapter.rank has no value; give a whole number, or remove the line"),
        ("adapter: {alpha: .inf}", "line 1: adapter.alpha must be a number, not '.inf'"),
        ("adapter: {alpha: 1e999}", "line 1: adapter.alpha must be a number, not '1e999'"),
        ("adapter: 8", "line 1: adapter must be a group of fields such as `name: value`, not '8'"),
        (
            "adapter: {type: lorra}",
            "line 1: adapter.type must be one of lora, locon, loha, lokr, dylora, not 'lorra' (nearest is lora)",
        ),
        (
            "adapter: {type: unspecified}",
            "line 1: adapter.type must be one of lora, locon, loha, lokr, dylora, not 'unspecified'",
        ),
        ("unet: {train: maybe}", "line 1: unet.train must be true or false, not 'maybe'"),
        ("deadline: 90", "line 1: deadline must be a time with its unit, such as 2h, 90m, 30s or 1h30m, not '90'"),
        ("deadline: {seconds: 3}", "line 1: deadline must be a time such as 2h, 90m or 30s, not a group of fields"),
        ("previews: {prompts: a cat}", "line 1: previews.prompts must be a list, each item after a `- `, not 'a cat'"),
        (
            "previews: {prompts: [a cat]}",
            "line 1: previews.prompts[0] must be a group of fields such as `name: value`, not 'a cat'",
        ),
        ("adapter: {rank: 1, rank: 2}", "line 1: adapter.rank is given twice, first in line 1; keep one"),
        ("adapter: {}\nunet: {}\nadapter: {}", "line 3: adapter is given twice, first in line 1; keep one"),
        (
            "optimization: {steps: 1, epochs: 2}",
            "line 1: optimization.epochs and optimization.steps exclude each other; keep one",
        ),
        (
            "display_name: !!python/name:os.system x",
            "line 1: display_name has the tag 'tag:yaml.org,2002:python/name:os.system', which is not allowed; give text",
        ),
        ("display_name: !secret x", "line 1: display_name has the tag '!secret', which is not allowed; give text"),
        ("- adapter", "line 1: the spec must be a group of fields such as `name: value`, not a list"),
        ("just words", "line 1: the spec must be a group of fields such as `name: value`, not 'just words'"),
        ("{[a]: b}", "line 1: the spec must have names of fields on its left, not a list"),
        ("", "it is empty; it needs at least base_model and dataset"),
        ("a: [", "line 1, column 5: this is not YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\n---\na: 2", "line 2, column 1: this is not YAML: but found another document"),
        ("a: *nowhere", "line 1, column 4: this is not YAML: found undefined alias 'nowhere'"),
        ("[" * 500, "it is nested too deeply"),
    ],
)
def test_refuses_by_name(text: str, problem: str) -> None:
    assert problems_of(text) == (problem,)


def test_reports_all_problems_at_once() -> None:
    text = "adaptor: {}\nadapter:\n  rnak: 1\n  rank: x\nunet: {learning_rate: fast}\n"
    assert [problem.split(" must")[0].split(" is")[0] for problem in problems_of(text, "foo.bar=1", "loss")] == [
        "line 1: adaptor",
        "line 3: adapter.rnak",
        "line 4: adapter.rank",
        "line 5: unet.learning_rate",
        "--set foo.bar=1: foo",
        "--set loss:",
    ]


def test_recursion_through_anchors_ends() -> None:
    assert problems_of(
        "concept: &a {prior_preservation: *a}"
    )  # a group within itself is refused, not followed for ever


@pytest.mark.parametrize(
    ("override", "check"),
    [
        ("adapter.rank=32", lambda spec: spec.adapter.rank == 32),
        ("adapter.type=loha", lambda spec: spec.adapter.type == v1.ADAPTER_TYPE_LOHA),
        ("concept.activation_tag=", lambda spec: spec.concept.activation_tag == ""),
        ("display_name=a: b, [c]", lambda spec: spec.display_name == "a: b, [c]"),
        ("display_name=a=b", lambda spec: spec.display_name == "a=b"),
        ("optimization.steps=5", lambda spec: spec.optimization.WhichOneof("length") == "steps"),
        ("dataset=other", lambda spec: spec.dataset.dataset == "datasets/other" and len(spec.dataset.subsets) == 1),
        ("dataset.subsets.0.repeats=7", lambda spec: spec.dataset.subsets[0].repeats == 7),
        ("dataset.subsets[0].repeats=7", lambda spec: spec.dataset.subsets[0].repeats == 7),
        (
            "previews.prompts=[{prompt: x}, {prompt: y}]",
            lambda spec: [p.prompt for p in spec.previews.prompts] == ["x", "y"],
        ),
        ("adapter={rank: 3}", lambda spec: spec.adapter == v1.AdapterSpec(rank=3)),
        ("deadline=2h", lambda spec: spec.deadline.seconds == 7200),
    ],
)
def test_override(override, check) -> None:
    assert check(read_spec(COMPLETE, [override]))


def test_overrides_alone_make_a_spec() -> None:
    spec = read_spec("# nothing yet", ["base_model=shapes", "dataset=abc", "dataset=xyz"])
    assert (spec.base_model, spec.dataset.dataset) == ("baseModels/shapes", "datasets/xyz")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("adapter.rank", "--set adapter.rank: must be of the form field=value, such as adapter.rank=8"),
        ("adapter.rnak=1", "--set adapter.rnak=1: adapter.rnak is not a field; the nearest is adapter.rank"),
        ("adapter.rank.x=1", "--set adapter.rank.x=1: adapter.rank has no field x; it is a whole number"),
        (
            "dataset.subsets.4.repeats=1",
            "--set dataset.subsets.4.repeats=1: dataset.subsets has 1 items; name one by its place from 0 and a field of it",
        ),
        (
            "previews.prompts=a",
            "--set previews.prompts=a: previews.prompts must be a list, each item after a `- `, not 'a'",
        ),
        ("unet=1", "--set unet=1: unet must be a group of fields such as `name: value`, not '1'"),
    ],
)
def test_bad_override(override: str, problem: str) -> None:
    assert problems_of(COMPLETE, override) == (problem,)


@pytest.mark.parametrize(
    ("text", "seconds", "nanos", "canonical"),
    [
        ("2h", 7200, 0, "2h"),
        ("90m", 5400, 0, "1h30m"),
        ("30s", 30, 0, "30s"),
        ("1d2h3m4s", 93784, 0, "1d2h3m4s"),
        ("1.5h", 5400, 0, "1h30m"),
        ("0.5s", 0, 500_000_000, "0.5s"),
        ("0s", 0, 0, "0s"),
        ("10s", 10, 0, "10s"),
    ],
)
def test_durations(text: str, seconds: int, nanos: int, canonical: str) -> None:
    duration = parse_duration(text)
    assert (duration.seconds, duration.nanos, format_duration(duration)) == (seconds, nanos, canonical)


@pytest.mark.parametrize("text", ["", "2", "h", "2x", "-2h", "2 h", "2h 3", "1e3s", "3m2h", "9" * 30 + "d"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a"):
        parse_duration(text)


# Any spec at all, by the descriptors, so that a new field of the proto is covered at once.

_IDS = st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True)
_COLLECTIONS = {"base_model": "baseModels", "dataset": "datasets", "initial_adapter": "adapters"}
_NAMES = {field: _IDS.map(f"{collection}/{{}}".format) for field, collection in _COLLECTIONS.items()}
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _values(field: FieldDescriptor) -> st.SearchStrategy:
    if is_duration(field):
        parts = st.tuples(st.integers(0, 10**9), st.sampled_from([0, 1, 500_000_000, 999_999_999]))
        return parts.map(lambda part: v1.TrainingSpec().deadline.__class__(seconds=part[0], nanos=part[1]))
    if field.message_type is not None:
        return _messages(field.message_type)
    return {
        FieldDescriptor.CPPTYPE_STRING: _NAMES.get(field.name, _TEXTS),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
        FieldDescriptor.CPPTYPE_ENUM: st.sampled_from(
            [number for number in enum_of(field).values_by_number if number] if field.enum_type else [0]
        ),
    }[field.cpp_type]


def _messages(descriptor) -> st.SearchStrategy[Message]:
    fields = {
        field.name: st.lists(_values(field), max_size=3) if field.is_repeated else _values(field)
        for field in descriptor.fields
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: getattr(v1, descriptor.name)(**values))


@settings(max_examples=100, deadline=None)
@given(_messages(v1.TrainingSpec.DESCRIPTOR))
@example(v1.TrainingSpec(display_name="\x85"))  # PyYAML alone loses it
def test_a_dumped_spec_reads_as_the_same(spec: v1.TrainingSpec) -> None:
    if not spec.ListFields():
        return
    assert read_spec(dump_spec(spec)) == spec


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("{}[]:,-&*!|>'\"#? \nabdeprt0123", max_size=60)))
def test_any_text_is_read_or_refused_in_sentences(text: str) -> None:
    with contextlib.suppress(SpecError):
        read_spec(text)


def test_the_example_of_the_documentation_is_a_spec() -> None:
    text = (Path(__file__).parents[2] / "docs/cli.md").read_text()
    spec = read_spec(text.partition("```yaml\n")[2].partition("```")[0])
    given = {field.name for field, _ in spec.ListFields()}
    assert given == {field.name for field in v1.TrainingSpec.DESCRIPTOR.fields} - {"sources"}  # which nobody sets
    assert spec.unet.learning_rate == 1e-4
