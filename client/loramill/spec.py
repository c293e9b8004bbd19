"""A training spec as people write it, in YAML, and back.

The fields are those of TrainingSpec, by the names of the proto. Enums are given by their short names in lower case
(`type: lora`), durations as `2h` or `1h30m`, resources by their ids; `dataset: NAME` is short for
`dataset: {dataset: NAME}`. What is not a field is refused, never ignored, and all problems are reported at once.
Whether values are in range and go together, the service knows.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, cast

import yaml
from google.protobuf.descriptor import FieldDescriptor

from loramill import v1
from loramill.errors import SpecError
from loramill.names import NAMED_IN_SPECS, full_name
from loramill.plain import dump_yaml
from loramill.scalars import group_of, is_duration, kind_of, parse_duration, parse_scalar, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

_SHORT_FORMS = {"loramill.v1.TrainingSpec.dataset": "dataset"}
"""Groups that may be given as one value, and the field that it then is."""

_NULL = "tag:yaml.org,2002:null"
_SCALARS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp", "value", "merge")}
"""What YAML finds a bare scalar to be. It is taken as it was written; only tags that ask for more are refused."""


def read_spec(text: str, overrides: Sequence[str] = (), *, source: str = "the spec") -> v1.TrainingSpec:
    """The spec in the YAML `text`, changed by `overrides` such as `adapter.rank=8`, in order.

    Raises SpecError with every problem; `source` names the text in it.
    """
    reader = _Reader()
    spec = v1.TrainingSpec()
    document = _compose(text, reader)
    if document is not None:
        reader.read_group(spec, document, "")
    elif not reader.problems and not overrides:
        reader.problems.append("it is empty; it needs at least base_model and dataset")
    for override in overrides:
        reader.read_override(spec, override)
    if reader.problems:
        raise SpecError(f"{source} cannot be used:", reader.problems)
    return spec


def dump_spec(spec: v1.TrainingSpec) -> str:
    """YAML that `read_spec` reads as the same spec."""
    return dump_yaml(spec)


def _compose(text: str, reader: _Reader) -> yaml.Node | None:
    """The one document in `text`, not constructed: only its scalars are ever looked at. Problems go to `reader`."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reader.problems.append(f"{place}this is not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        reader.problems.append(f"this is not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        reader.problems.append("it is nested too deeply")
    return None


class _Reader:
    """Fills messages from YAML nodes and collects problems, a sentence each.

    `path` is where a field stands, from the top of the spec: `adapter.rank`, `dataset.subsets[0].repeats`.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._place = ""

    def read_group(self, message: Message, node: yaml.Node, path: str) -> None:
        """Sets the fields of `message` that `node`, a mapping, has."""
        if not isinstance(node, yaml.MappingNode):
            self._report(
                node, path or "the spec", f"must be a group of fields such as `name: value`, not {_what(node)}"
            )
            return
        message.SetInParent()  # {} is something else than nothing
        seen: dict[str, int] = {}
        for key, value in node.value:
            field = self._field(key, _descriptor_of(message), path)
            if field is None:
                continue
            name = field.name
            full = _join(path, name)
            if name in seen:
                self._report(key, full, f"is given twice, first in line {seen[name]}; keep one")
                continue
            rival = _rival(field, seen)
            if rival:
                self._report(key, full, f"and {_join(path, rival)} exclude each other; keep one")
            seen[name] = key.start_mark.line + 1 if key.start_mark else 0
            self._set(message, field, value, full)

    def read_override(self, spec: v1.TrainingSpec, override: str) -> None:
        """Sets what `a.b=value` says. Numbers choose among what is there: `previews.prompts.0.seed=7`."""
        self._place = f"--set {override}: "
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            self.problems.append(f"{self._place}must be of the form field=value, such as adapter.rank=8")
        else:
            self._walk(spec, path.strip(), text)
        self._place = ""

    def _walk(self, spec: v1.TrainingSpec, path: str, text: str) -> None:
        message: Message = spec
        walked = ""
        parts = path.replace("[", ".").replace("]", "").split(".")
        while True:
            field = self._field(yaml.ScalarNode("", parts.pop(0)), _descriptor_of(message), walked)
            if field is None:
                return
            walked = _join(walked, field.name)
            if not parts:
                self._set(message, field, self._override_value(field, text), walked)
                return
            if group_of(field) is None:
                self._report(None, walked, f"has no field {parts[0]}; it is {kind_of(field)}")
                return
            message = getattr(message, field.name)
            if field.is_repeated:
                items: Any = message
                place = parts.pop(0)
                if not place.isdecimal() or int(place) >= len(items) or not parts:
                    self._report(
                        None, walked, f"has {len(items)} items; name one by its place from 0 and a field of it"
                    )
                    return
                message, walked = items[int(place)], f"{walked}[{place}]"

    def _override_value(self, field: FieldDescriptor, text: str) -> yaml.Node | None:
        """Lists and groups are given in YAML; anything else is taken as it stands."""
        if field.is_repeated or (field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and text.lstrip().startswith("{")):
            return _compose(text, self)
        return yaml.ScalarNode("tag:yaml.org,2002:str", text)

    def _set(self, message: Message, field: FieldDescriptor, node: yaml.Node | None, path: str) -> None:
        is_group = field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE
        if node is None:
            return
        if node.tag == _NULL:
            # Everything below is commented out; a single value without a value is a slip.
            if not is_group and not field.is_repeated:
                self._report(node, path, f"has no value; give {kind_of(field)}, or remove the line")
            return
        if not field.is_repeated:
            self._set_one(message, field, node, path)
            return
        if not isinstance(node, yaml.SequenceNode):
            self._report(node, path, f"must be a list, each item after a `- `, not {_what(node)}")
            return
        message.ClearField(field.name)
        items = getattr(message, field.name)
        for index, item in enumerate(node.value):
            if is_group:
                self.read_group(items.add(), item, f"{path}[{index}]")
            else:
                value = self._scalar(field, item, f"{path}[{index}]")
                items.extend([] if value is None else [value])

    def _set_one(self, message: Message, field: FieldDescriptor, node: yaml.Node, path: str) -> None:
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            value = self._scalar(field, node, path)
            if value is not None:
                setattr(message, field.name, value)
        elif is_duration(field):
            self._set_duration(getattr(message, field.name), node, path)
        elif isinstance(node, yaml.ScalarNode) and field.full_name in _SHORT_FORMS:
            part: Message = getattr(message, field.name)
            self._set_one(part, _descriptor_of(part).fields_by_name[_SHORT_FORMS[field.full_name]], node, path)
        else:
            message.ClearField(field.name)
            self.read_group(getattr(message, field.name), node, path)

    def _set_duration(self, duration: Message, node: yaml.Node, path: str) -> None:
        if not isinstance(node, yaml.ScalarNode):
            self._report(node, path, f"must be a time such as 2h, 90m or 30s, not {_what(node)}")
            return
        try:
            duration.CopyFrom(parse_duration(node.value))
        except ValueError as error:
            self._report(node, path, str(error))

    def _scalar(self, field: FieldDescriptor, node: yaml.Node, path: str) -> int | float | bool | str | None:
        """The value, or None after reporting why there is none."""
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
            self._report(node, path, f"must be {kind_of(field)}, not {_what(node)}")
            return None
        if node.tag not in _SCALARS:
            self._report(node, path, f"has the tag {shown(node.tag)}, which is not allowed; give {kind_of(field)}")
            return None
        try:
            value = parse_scalar(field, node.value, quoted=node.style is not None)
        except ValueError as error:
            self._report(node, path, str(error))
            return None
        collection = NAMED_IN_SPECS.get(field.full_name)
        return full_name(collection, node.value) if collection and node.value else value

    def _field(self, key: yaml.Node, group: Descriptor, path: str) -> FieldDescriptor | None:
        """The field that `key` means, or None after reporting that there is none."""
        if not isinstance(key, yaml.ScalarNode):
            self._report(key, path or "the spec", f"must have names of fields on its left, not {_what(key)}")
            return None
        if key.value in group.fields_by_name:
            return group.fields_by_name[key.value]
        self._report(
            key, _join(path, shown(key.value).strip("'\"")), f"is not a field{_nearest(key.value, group, path)}"
        )
        return None

    def _report(self, node: yaml.Node | None, path: str, sentence: str) -> None:
        place = self._place
        if not place and node is not None and node.start_mark is not None:
            place = f"line {node.start_mark.line + 1}: "
        self.problems.append(f"{place}{path} {sentence}")


def _descriptor_of(message: Message) -> Descriptor:
    return cast("Descriptor", message.DESCRIPTOR)


def _nearest(word: str, group: Descriptor, path: str) -> str:
    """What was probably meant: a near name here, else the same name elsewhere, else all that there is here."""
    near = difflib.get_close_matches(word, [field.name for field in group.fields], n=1)
    if near:
        return f"; the nearest is {_join(path, near[0])}"
    elsewhere = [name for name in _all_paths(v1.TrainingSpec.DESCRIPTOR, "") if name.rpartition(".")[2] == word]
    if elsewhere:
        return f" here; there is {' and '.join(elsewhere)}"
    return f"; {path or 'the spec'} has {', '.join(field.name for field in group.fields)}"


def _all_paths(group: Descriptor, path: str) -> Iterator[str]:
    for field in group.fields:
        name = _join(path, field.name)
        yield name
        inner = group_of(field)
        if inner is not None:
            yield from _all_paths(inner, f"{name}[]" if field.is_repeated else name)


def _rival(field: FieldDescriptor, seen: dict[str, int]) -> str | None:
    """Another field of the same oneof that was given already."""
    rivals = field.containing_oneof.fields if field.containing_oneof else ()
    return next((rival.name for rival in rivals if rival.name in seen), None)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _what(node: yaml.Node) -> str:
    """What stands there, in words; never its content in full."""
    if isinstance(node, yaml.MappingNode):
        return "a group of fields"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag == _NULL else shown(str(node.value))
