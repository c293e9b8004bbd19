"""The pictures that a job has drawn while it trained: those of all its runs, each once. Synchronous: called in threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loramill import v1
from service.errors import ResourceNotFound, invalid
from service.facts import JobFacts
from service.keys import TenantKeys
from store.object_store import NotFound, ObjectStore

PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredPreview:
    """A picture, and where it lies."""

    preview: v1.TrainingPreview
    key: str


def previews(
    store: ObjectStore, facts: JobFacts, request: v1.GetTrainingPreviewsRequest
) -> Iterator[v1.GetTrainingPreviewsResponse]:
    """What GetTrainingPreviews answers with. Raises InvalidRequest, and ResourceNotFound where a picture is deleted meanwhile."""
    if request.HasField("step") and request.HasField("after_step"):
        raise invalid("step", "step and after_step are both set; leave one out.", "CONFLICT")
    for name in ("step", "after_step"):
        if getattr(request, name) < 0:
            raise invalid(
                name, f"{name} is {getattr(request, name)}, but must be 0 or more; leave it out for all steps."
            )
    for stored in stored_previews(store, facts):
        if not _is_wanted(stored.preview, request):
            continue
        yield v1.GetTrainingPreviewsResponse(preview=stored.preview)
        for start in range(0, stored.preview.size_bytes, PIECE_BYTES):
            try:
                yield v1.GetTrainingPreviewsResponse(data=store.get_range(stored.key, start, PIECE_BYTES))
            except NotFound as error:
                raise ResourceNotFound(f"A preview of trainingJobs/{facts.job} has been deleted.") from error


def stored_previews(store: ObjectStore, facts: JobFacts) -> list[StoredPreview]:
    """By step, strength and prompt. Where a later run has drawn a picture again, that stands."""
    spec, tag = facts.create.spec.previews, facts.create.spec.concept.activation_tag
    job_keys = TenantKeys(facts.tenant).job(facts.job)
    found: dict[tuple[int, float, int], StoredPreview] = {}
    for launch in facts.launches:
        run = job_keys.run(launch.number)
        for entry in store.list(run.previews_prefix):
            parsed = run.preview_of(entry.key)
            if parsed is None:
                continue
            step, place, at = parsed
            if place >= len(spec.prompts) or (at is not None and at >= len(spec.strengths)):
                continue
            prompt = spec.prompts[place]
            strength = spec.strengths[at] if at is not None else float(step > 0)
            preview = v1.TrainingPreview(
                step=step,
                place=place,
                prompt=prompt.prompt.replace("[tag]", tag),
                negative_prompt=prompt.negative_prompt.replace("[tag]", tag),
                seed=prompt.seed,
                strength=strength,
                size_bytes=entry.size,
            )
            found[step, strength, place] = StoredPreview(preview, entry.key)
    return [found[key] for key in sorted(found)]


def _is_wanted(preview: v1.TrainingPreview, request: v1.GetTrainingPreviewsRequest) -> bool:
    if request.HasField("step"):
        in_time = preview.step == request.step
    else:
        in_time = not request.HasField("after_step") or preview.step > request.after_step
    return in_time and (not request.plain or preview.strength == float(preview.step > 0))
