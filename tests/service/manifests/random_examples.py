"""Launches, classes and settings at random, as wild as their models allow. The same seed gives the same example."""

from __future__ import annotations

import string
from random import Random
from typing import Any

from tests.service.manifests.examples import DIGEST, TAINT, Example, example, launch_of

_LOWER = string.ascii_lowercase + string.digits
_ANY = string.ascii_letters + string.digits


def _word(random: Random, ends: str, middle: str) -> str:
    size = random.choice((1, 2, 8, 63))
    if size == 1:
        return random.choice(ends)
    return random.choice(ends) + "".join(random.choices(middle, k=size - 2)) + random.choice(ends)


_NAMES = tuple(_word(Random(seed), _LOWER, _LOWER + "-") for seed in range(300))
"""DNS labels, many as short or as long as one can be."""
_LABELS = tuple(_word(Random(seed), _ANY, _ANY + "_.-") for seed in range(300))
"""Values of labels, likewise."""


def random_example(seed: int) -> Example:
    random = Random(seed)
    launch = launch_of(
        _name(random),
        random.choice((1, 2, random.randint(1, 999_999_999))),
        random.randint(1, 30 * 86400),
        TAINT + _text(random),
    )
    return example(_class(random), _settings(random), launch)


def _class(random: Random) -> dict[str, Any]:
    return {
        "name": _name(random),
        "description": TAINT + _text(random),
        "gpus": random.choice((0, 1, 8, 16)),
        "gpu_resource": random.choice(("nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.10gb")),
        "cpu": random.choice(("1", "0.5", "1500m", "64", 4)),
        "memory": random.choice(("3Gi", "16G", "4096Mi", "2Ti")),
        "ephemeral_storage": random.choice(("3Gi", "16G", "4096Mi", "2Ti")),
        "shm": random.choice(("64Mi", "1Gi", "1M")),
        "node_selector": {_key(random): _value(random) for _ in range(random.randint(0, 3))},
        "node_affinity": [_requirement(random) for _ in range(random.randint(0, 4))],
        "tolerations": [_toleration(random) for _ in range(random.randint(0, 4))],
        "spot": random.random() < 0.5,
        "priority_class_name": _maybe(random, _name(random)),
        "runtime_class_name": _maybe(random, _name(random)),
        "termination_grace_seconds": _maybe(random, random.randint(1, 110)),
        "queue_name": _maybe(random, _name(random)),
    }


def _settings(random: Random) -> dict[str, Any]:
    claim = {"persistent_volume_claim": _name(random)}
    return {
        "namespace": _name(random),
        "image": _image(random),
        "image_pull_policy": random.choice(("Always", "IfNotPresent", "Never")),
        "image_pull_secrets": [_name(random) for _ in range(random.randint(0, 2))],
        "service_account_name": _name(random),
        "mount_credentials": random.random() < 0.7,
        "queue_name": _maybe(random, _name(random)),
        "queue_priority_class": _maybe(random, _name(random)),
        "s3": {
            "endpoint_url": _maybe(random, f"https://{_name(random)}.example:{random.randint(1, 65535)}"),
            "region": _maybe(random, "eu-central-1"),
            "ca_bundle": _maybe(random, {"config_map": _name(random), "key": _label(random)}),
        },
        "base_models": random.choice((None, claim, {"image": _image(random)})),
        "pending_allowance": random.randint(600, 30 * 86400),
        "finished_job_retention": random.randint(0, 30 * 86400),
    }


def _requirement(random: Random) -> dict[str, Any]:
    operator = random.choice(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
    values: list[str] = []
    if operator in ("In", "NotIn"):
        values = [_label(random) for _ in range(random.randint(1, 3))]
    elif operator in ("Gt", "Lt"):
        values = [str(random.randint(0, 10**17))]
    return {"key": _key(random), "operator": operator, "values": values}


def _toleration(random: Random) -> dict[str, Any]:
    effect = random.choice(("", "NoSchedule", "PreferNoSchedule", "NoExecute"))
    if random.random() < 0.5:
        return {"key": _key(random), "effect": effect}
    return {"key": _key(random), "operator": "Equal", "value": _value(random), "effect": effect}


def _maybe(random: Random, value: Any) -> Any:
    return value if random.random() < 0.5 else None


def _image(random: Random) -> str:
    return f"registry.example/{_name(random)}@{DIGEST}"


def _name(random: Random) -> str:
    return random.choice(_NAMES)


def _label(random: Random) -> str:
    return random.choice(_LABELS)


def _value(random: Random) -> str:
    return random.choice(("", _label(random)))


def _key(random: Random) -> str:
    return random.choice((_label(random), f"{_name(random)}.example/{_label(random)}"))


def _text(random: Random) -> str:
    return chr(random.randint(1, 0xD7FF)) * random.randint(0, 20)
