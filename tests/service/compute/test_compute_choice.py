"""The cheapest class that fits, and what is said where none does. One table."""

from __future__ import annotations

from typing import Any

import pytest

from loramill import v1
from service.compute_choice import NoFit, choose, class_for, fallbacks_for, offers, plan_of, violations_of_compute
from service.compute_classes import LOCAL_MODE, ComputeClass, ComputeClasses


def offered(name: str, gpus: int, gib: int, price: float | None, *, spot: bool = False) -> ComputeClass:
    return ComputeClass(
        name=name, gpus=gpus, gpu_memory_gib=gib, price_per_hour=price, spot=spot, cpu="1", memory="1Gi"
    )


CLASSES = ComputeClasses(
    classes=(
        offered("unpriced", 8, 80, None),
        offered("a100", 1, 80, 4),
        offered("a10", 1, 24, 1.2),
        offered("a10-spot", 1, 24, 0.4, spot=True),
        offered("t4-b", 1, 16, 0.6),
        offered("t4-a", 1, 16, 0.6),
        offered("four-t4", 4, 16, 2.4),
        offered("unsaid", 1, 0, 0.5),
        offered("cpu", 0, 0, 0.1),
    ),
    currency="USD",
)


def needs(**fields: Any) -> v1.ComputeNeeds:
    return v1.ComputeNeeds(**fields)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (needs(), "cpu"),
        (needs(gpus=1), "a10-spot"),
        (needs(gpus=1, spot=False), "unsaid"),
        (needs(gpus=1, gpu_memory_gib=1, spot=False), "t4-a"),
        (needs(gpu_memory_gib=24), "a10-spot"),
        (needs(gpu_memory_gib=24, spot=False), "a10"),
        (needs(gpu_memory_gib=25), "a100"),
        (needs(gpus=2), "four-t4"),
        (needs(gpus=2, gpu_memory_gib=24), "unpriced"),
        (needs(gpus=8), "unpriced"),
        (needs(spot=True), "a10-spot"),
        (needs(max_price_per_hour=0.3), "cpu"),
        (needs(gpus=1, spot=False, max_price_per_hour=0.5), "unsaid"),
        (needs(gpus=9), None),
        (needs(gpus=8, max_price_per_hour=1000), None),
        (needs(spot=True, gpu_memory_gib=80), None),
        (needs(gpus=1, spot=False, max_price_per_hour=0.45), None),
    ],
)
def test_the_cheapest_that_fits(asked: v1.ComputeNeeds, chosen: str | None) -> None:
    found = choose(CLASSES, asked)
    assert (found.name if isinstance(found, ComputeClass) else None) == chosen
    backwards = ComputeClasses(classes=CLASSES.classes[::-1])
    assert choose(backwards, asked) == found


def test_why_each_class_does_not_fit() -> None:
    found = choose(CLASSES, needs(gpus=2, gpu_memory_gib=40, spot=False, max_price_per_hour=1))
    assert isinstance(found, NoFit)
    assert found.message.split("; ") == [
        "cpu has no GPU, not 2 and has no GPU memory, not 40 GiB",
        "a10-spot has 1 GPU, not 2 and has GPUs of 24 GiB, not 40 GiB and may lose its nodes at any time",
        "unsaid has 1 GPU, not 2 and does not say how much memory its GPUs have",
        "t4-a has 1 GPU, not 2 and has GPUs of 16 GiB, not 40 GiB",
        "t4-b has 1 GPU, not 2 and has GPUs of 16 GiB, not 40 GiB",
        "a10 has 1 GPU, not 2 and has GPUs of 24 GiB, not 40 GiB and costs 1.2 an hour, more than 1",
        "four-t4 has GPUs of 16 GiB, not 40 GiB and costs 2.4 an hour, more than 1",
        "a100 has 1 GPU, not 2 and costs 4 an hour, more than 1",
        "unpriced has no price",
    ]
    only_spot = choose(CLASSES, needs(spot=True, gpus=2))
    assert isinstance(only_spot, NoFit)
    assert "a10 has 1 GPU, not 2 and is not spot" in only_spot.message


def said(name: str, asked: v1.ComputeNeeds | None, classes: ComputeClasses = CLASSES) -> dict[str, tuple[str, str]]:
    spec = v1.TrainingSpec(compute_class=name, compute_needs=asked)
    return {
        violation.field: (violation.reason, violation.description)
        for violation in violations_of_compute(spec, classes, "spec")
    }


def test_what_a_spec_says_of_its_machine_is_checked() -> None:
    assert said("a10", None) == said("", None) == said("a10", needs(gpu_memory_gib=24)) == {}
    assert said("", needs(gpus=1)) == said("", needs()) == {}
    reason, text = said("h100", None)["spec.compute_class"]
    assert reason == "RESOURCE_NOT_FOUND"
    assert "choose one of cpu, a10-spot, unsaid, t4-a, t4-b, a10, four-t4, a100, unpriced" in text
    reason, text = said("a10", needs(gpus=2))["spec.compute_needs"]
    assert reason == "CONFLICT"
    assert "a10 has 1 GPU, not 2; leave one of the two out" in text
    assert said("h100", needs(gpus=2)).keys() == {"spec.compute_class"}
    reason, text = said("", needs(gpus=9))["spec.compute_needs"]
    assert reason == "NO_CLASS_FITS"
    assert "unpriced has 8 GPUs, not 9" in text


def test_local_mode_has_one_machine_and_takes_no_needs() -> None:
    assert said("local", None, LOCAL_MODE) == said("", None, LOCAL_MODE) == said("", needs(), LOCAL_MODE) == {}
    assert said("a10", None, LOCAL_MODE)["spec.compute_class"][0] == "RESOURCE_NOT_FOUND"
    for asked in (needs(gpus=1), needs(spot=False)):
        assert said("", asked, LOCAL_MODE)["spec.compute_needs"][0] == "NOT_SUPPORTED"
    assert class_for(v1.TrainingSpec(), LOCAL_MODE) is None
    assert [offer.name for offer in offers(LOCAL_MODE)] == ["local"]


def test_what_callers_are_told() -> None:
    offer = offers(CLASSES)[1]
    assert (offer.name, offer.gpus, offer.gpu_memory_gib, offer.spot) == ("a10-spot", 1, 24, True)
    assert (offer.price_per_hour, offer.currency) == (0.4, "USD")
    assert [each.name for each in offers(CLASSES)] == list(CLASSES.names)
    unpriced = class_for(v1.TrainingSpec(compute_class="unpriced"), CLASSES)
    assert unpriced is not None
    assert plan_of(unpriced, "USD").price_per_hour == 0


def fallback(named: str = "", asked: v1.ComputeNeeds | None = None, **fields: Any) -> v1.TrainingSpec:
    spec = v1.TrainingSpec(compute_class=named, compute_needs=asked)
    spec.compute_fallback.SetInParent()
    if seconds := fields.pop("seconds", None):
        spec.compute_fallback.after.seconds = seconds
    spec.compute_fallback.compute_classes.extend(fields.pop("classes", ()))
    return spec


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (fallback(asked=needs(gpu_memory_gib=24)), ["a10", "a100", "unpriced"]),
        (fallback("a100", needs(gpu_memory_gib=24)), ["a10-spot", "a10", "unpriced"]),
        (fallback(asked=needs(gpu_memory_gib=24, max_price_per_hour=2)), ["a10"]),
        (fallback("a10-spot", classes=["a100", "a10"]), ["a100", "a10"]),
        (v1.TrainingSpec(compute_class="a10"), []),
    ],
)
def test_where_a_job_may_go_besides_its_class(spec: v1.TrainingSpec, names: list[str]) -> None:
    assert list(violations_of_compute(spec, CLASSES, "spec")) == []
    assert [offered.name for offered in fallbacks_for(spec, CLASSES)] == names


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        (fallback("a10"), ".compute_classes", "REQUIRED"),
        (fallback(asked=needs(gpus=4, gpu_memory_gib=80)), "", "NO_CLASS_FITS"),
        (fallback("a10", classes=["a10"]), ".compute_classes[0]", "CONFLICT"),
        (fallback("a10", classes=["a100", "a100"]), ".compute_classes[1]", "CONFLICT"),
        (fallback("a10", needs(gpus=1), classes=["cpu"]), ".compute_classes[0]", "CONFLICT"),
        (fallback("a10", classes=["h100"]), ".compute_classes[0]", "RESOURCE_NOT_FOUND"),
        (fallback("a10", classes=["a100"], seconds=59), ".after", "OUT_OF_RANGE"),
        (fallback("a10", classes=["a100"], seconds=30 * 86400 + 1), ".after", "OUT_OF_RANGE"),
        (fallback("a10", classes=["a100"], seconds=2**60), ".after", "OUT_OF_RANGE"),
    ],
)
def test_what_is_wrong_with_a_fallback_is_said(spec: v1.TrainingSpec, field: str, reason: str) -> None:
    found = {violation.field: violation.reason for violation in violations_of_compute(spec, CLASSES, "spec")}
    assert found == {f"spec.compute_fallback{field}": reason}


def test_local_mode_has_nowhere_to_go() -> None:
    found = {
        violation.field: violation.reason
        for violation in violations_of_compute(fallback(classes=["x"]), LOCAL_MODE, "spec")
    }
    assert found == {"spec.compute_fallback": "NOT_SUPPORTED"}
