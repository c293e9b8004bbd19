"""The chart as Helm renders it, by Helm's own code."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "loramill"
CI = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*-values.yaml"))}
NAMESPACE = "loramill"

Object = dict[str, Any]


@cache
def chart() -> helm.Chart:
    return helm.Chart.load(CHART)


def values_of(name: str) -> Object:
    """Those of one of the files in ci/."""
    values: Object = yaml.safe_load(CI[name].read_text())
    return values


def changed(values: Object, **changes: Any) -> Object:
    """A copy in which the value at each `a__b__c` is another one."""
    values = copy.deepcopy(values)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = values
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
    return values


def rendered(values: Object) -> list[Object]:
    """All objects of a release, hooks included. Raises HelmError as `helm install` would."""
    return copy.deepcopy(_rendered(json.dumps(values)))


@cache
def _rendered(values_json: str) -> list[Object]:
    values = json.loads(values_json)
    chart().validate_schema(values)
    files = chart().render(values, name="loramill", namespace=NAMESPACE)
    texts = [text for path, text in files.items() if not path.endswith(".txt")]
    # libyaml's parser: ten times as fast as the one in Python.
    documents = (document for text in texts for document in yaml.load_all(text, yaml.CSafeLoader))
    return [document for document in documents if document]


def notes(values: Object) -> str:
    return chart().render(values, name="loramill", namespace=NAMESPACE)["loramill/templates/NOTES.txt"]


def one(objects: list[Object], kind: str, name: str = "loramill", namespace: str | None = None) -> Object:
    """The only object of that kind and name."""
    (found,) = [
        each
        for each in objects
        if each["kind"] == kind
        and each["metadata"]["name"] == name
        and namespace in (None, each["metadata"].get("namespace"))
    ]
    return found


def all_of(objects: list[Object], kind: str) -> list[Object]:
    return [each for each in objects if each["kind"] == kind]
