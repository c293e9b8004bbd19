"""Which compute class a job gets: the one that it names, or the cheapest that has what it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loramill import v1
from service.compute_classes import LOCAL, ComputeClass, ComputeClasses
from service.errors import Violation


@dataclass(frozen=True)
class NoFit:
    """No class has what is needed."""

    message: str
    """What each class lacks, in one sentence."""


def choose(classes: ComputeClasses, needs: v1.ComputeNeeds) -> ComputeClass | NoFit:
    """The cheapest class that fits; those without a price come last, and of two that cost the same the first by name."""
    lacks = {}
    for offered in classes.cheapest_first:
        lacks[offered.name] = list(_lacks(offered, needs))
        if not lacks[offered.name]:
            return offered
    return NoFit("; ".join(f"{name} {' and '.join(parts)}" for name, parts in lacks.items()))


def class_for(spec: v1.TrainingSpec, classes: ComputeClasses) -> ComputeClass | None:
    """The class of a valid spec; None in local mode."""
    if not classes.classes:
        return None
    chosen = classes.find(spec.compute_class) if spec.compute_class else choose(classes, spec.compute_needs)
    return chosen if isinstance(chosen, ComputeClass) else None


def violations_of_compute(spec: v1.TrainingSpec, classes: ComputeClasses, path: str) -> Iterator[Violation]:
    """What is wrong with `compute_class` and `compute_needs` of the spec."""
    yield from _of_class(spec.compute_class, classes, f"{path}.compute_class")
    yield from _of_needs(spec, classes, f"{path}.compute_needs")


def plan_of(chosen: ComputeClass, currency: str) -> v1.ComputePlan:
    """What a job is told of its class."""
    return v1.ComputePlan(
        compute_class=chosen.name,
        gpus=chosen.gpus,
        gpu_memory_gib=chosen.gpu_memory_gib,
        spot=chosen.spot,
        price_per_hour=chosen.price_per_hour or 0,
        currency=currency,
    )


def offers(classes: ComputeClasses) -> list[v1.ComputeClass]:
    """All classes as callers see them, cheapest first."""
    if not classes.classes:
        return [v1.ComputeClass(name=LOCAL, description="The machine that the service runs on.")]
    return [
        v1.ComputeClass(
            name=offered.name,
            description=offered.description,
            gpus=offered.gpus,
            gpu_memory_gib=offered.gpu_memory_gib,
            spot=offered.spot,
            price_per_hour=offered.price_per_hour or 0,
            currency=classes.currency,
        )
        for offered in classes.cheapest_first
    ]


def _of_class(name: str, classes: ComputeClasses, field: str) -> Iterator[Violation]:
    if name and name not in classes.names:
        known = ", ".join(classes.names)
        text = f"{field} is {name[:80]!r}, which is not configured; choose one of {known}."
        yield Violation(field, text, "RESOURCE_NOT_FOUND")


def _of_needs(spec: v1.TrainingSpec, classes: ComputeClasses, field: str) -> Iterator[Violation]:
    needs = spec.compute_needs
    if not needs.ListFields():
        return
    if not classes.classes:
        text = f"{field} is set, but this service trains on its own machine alone; leave it out."
        yield Violation(field, text, "NOT_SUPPORTED")
        return
    if not spec.compute_class:
        chosen = choose(classes, needs)
        if isinstance(chosen, NoFit):
            text = f"{field} fits no compute class: {chosen.message}; ask for less, or name a class."
            yield Violation(field, text, "NO_CLASS_FITS")
        return
    named = classes.find(spec.compute_class)
    lacks = list(_lacks(named, needs)) if named is not None else []
    if lacks:
        text = (
            f"{field} contradicts compute_class: {spec.compute_class} {' and '.join(lacks)}; "
            "leave one of the two out, or name another class."
        )
        yield Violation(field, text, "CONFLICT")


def _lacks(offered: ComputeClass, needs: v1.ComputeNeeds) -> Iterator[str]:
    """What keeps the class from fitting, as parts of a sentence that begins with its name."""
    if offered.gpus < needs.gpus:
        yield f"has {_gpus(offered.gpus)}, not {needs.gpus}"
    if needs.gpu_memory_gib and offered.gpus and not offered.gpu_memory_gib:
        yield "does not say how much memory its GPUs have"
    elif offered.gpu_memory_gib < needs.gpu_memory_gib:
        yield f"has {_memory(offered)}, not {needs.gpu_memory_gib} GiB"
    if needs.HasField("spot") and needs.spot != offered.spot:
        yield "may lose its nodes at any time" if offered.spot else "is not spot"
    if needs.max_price_per_hour and offered.price_per_hour is None:
        yield "has no price"
    elif needs.max_price_per_hour and offered.price > needs.max_price_per_hour:
        yield f"costs {offered.price:g} an hour, more than {needs.max_price_per_hour:g}"


def _gpus(count: int) -> str:
    return {0: "no GPU", 1: "1 GPU"}.get(count, f"{count} GPUs")


def _memory(offered: ComputeClass) -> str:
    return f"GPUs of {offered.gpu_memory_gib} GiB" if offered.gpus else "no GPU memory"
