"""Which compute class a job gets: the one that it names, or the cheapest that has what it needs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loramill import v1
from service.compute_classes import LOCAL, ComputeClass, ComputeClasses
from service.errors import Violation

_SHORTEST_WAIT, _LONGEST_WAIT = 60, 30 * 24 * 60 * 60
"""Seconds for a machine, before the job goes to another class."""

_MOST_FALLBACKS = 16


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


def fallbacks_for(spec: v1.TrainingSpec, classes: ComputeClasses) -> list[ComputeClass]:
    """Where a valid spec may go besides its class, in order; nowhere where it does not ask for it."""
    if not spec.HasField("compute_fallback"):
        return []
    named = [classes.find(name) for name in spec.compute_fallback.compute_classes]
    return [offered for offered in named if offered is not None] or _others(spec, classes)


def violations_of_compute(spec: v1.TrainingSpec, classes: ComputeClasses, path: str) -> Iterator[Violation]:
    """What is wrong with `compute_class` and `compute_needs` of the spec; `path` is empty where the request itself has them."""
    below = f"{path}." if path else ""
    yield from _of_class(spec.compute_class, classes, f"{below}compute_class")
    yield from _of_needs(spec, classes, f"{below}compute_needs")
    yield from _of_fallback(spec, classes, f"{below}compute_fallback")


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


def _of_fallback(spec: v1.TrainingSpec, classes: ComputeClasses, field: str) -> Iterator[Violation]:
    if not spec.HasField("compute_fallback"):
        return
    if not classes.classes:
        text = f"{field} is set, but this service trains on its own machine alone; leave it out."
        yield Violation(field, text, "NOT_SUPPORTED")
        return
    fallback = spec.compute_fallback
    seconds = fallback.after.seconds + fallback.after.nanos / 1e9
    if fallback.HasField("after") and not _SHORTEST_WAIT <= seconds <= _LONGEST_WAIT:
        text = f"{field}.after is {seconds:g} seconds, but must be 1 minute to 30 days; change it."
        yield Violation(f"{field}.after", text)
    if fallback.compute_classes:
        yield from _of_fallback_classes(spec, classes, f"{field}.compute_classes")
    elif not spec.compute_needs.ListFields():
        text = (
            f"{field}.compute_classes are required without compute_needs; name the classes, or say what the job needs."
        )
        yield Violation(f"{field}.compute_classes", text, "REQUIRED")
    elif class_for(spec, classes) is not None and not _others(spec, classes):
        text = (
            f"{field} has nowhere to go: no other class has what compute_needs asks for; ask for less, or leave it out."
        )
        yield Violation(field, text, "NO_CLASS_FITS")


def _of_fallback_classes(spec: v1.TrainingSpec, classes: ComputeClasses, field: str) -> Iterator[Violation]:
    chosen, names = class_for(spec, classes), list(spec.compute_fallback.compute_classes)
    for place, name in enumerate(names[:_MOST_FALLBACKS]):
        entry, offered = f"{field}[{place}]", classes.find(name)
        if offered is None:
            yield from _of_class(name or "''", classes, entry)
        elif name in names[:place] or (chosen is not None and name == chosen.name):
            text = f"{entry} is {name}, which the job has been on by then; name each class once, and not the job's own."
            yield Violation(entry, text, "CONFLICT")
        elif lacks := list(_lacks(offered, spec.compute_needs)):
            text = f"{entry} contradicts compute_needs: {name} {' and '.join(lacks)}; leave it out, or ask for less."
            yield Violation(entry, text, "CONFLICT")


def _others(spec: v1.TrainingSpec, classes: ComputeClasses) -> list[ComputeClass]:
    """All that have what is needed but the job's own, cheapest first, as many as a spec may name."""
    chosen = class_for(spec, classes)
    fitting = (offered for offered in classes.cheapest_first if not any(_lacks(offered, spec.compute_needs)))
    return [offered for offered in fitting if offered != chosen][:_MOST_FALLBACKS]


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
