"""The pictures of a job are those of all its runs, each once, while it trains and after."""

from __future__ import annotations

import grpc
import pytest

from loramill import v1
from service.keys import TenantKeys, job_of_name
from tests.service.api.api import Api, error_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPEC = v1.TrainingSpec(
    concept=v1.ConceptSpec(activation_tag="qzx"),
    previews=v1.PreviewSpec(
        prompts=[
            v1.PreviewPrompt(prompt="[tag] on grass", negative_prompt="not [tag]", seed=7),
            v1.PreviewPrompt(prompt="a cat", seed=8),
        ],
        strengths=[0, 0.5, 1],
    ),
)


async def new_job(api: Api) -> str:
    spec = await api.spec()
    spec.MergeFrom(SPEC)
    return (await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec))).name


async def drawn(api: Api, name: str, **options: object) -> list[tuple[v1.TrainingPreview, bytes]]:
    found: list[tuple[v1.TrainingPreview, bytes]] = []
    request = v1.GetTrainingPreviewsRequest(name=name, **options)  # type: ignore[arg-type]
    async for message in api.training.GetTrainingPreviews(request):
        if message.WhichOneof("payload") == "preview":
            found.append((message.preview, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + message.data)
    return found


async def test_each_picture_comes_once_whole_and_in_order(api: Api) -> None:
    name = await new_job(api)
    trainer = await api.launched(name)
    job, large = TenantKeys("local").job(job_of_name(name) or ""), b"large " * 400_000
    trainer.claim()
    for key, content in {
        "0000000/00.png": b"base",
        "0000000/01.png": b"base cat",
        "0000010/00.png": b"old",
        "0000010/00-1.png": large,
        "0000010/00.tmp": b"no picture",
        "0000010/64.png": b"of no prompt",
        "0000010/00-9.png": b"of no strength",
    }.items():
        api.service.store.put_new(job.run(1).previews_prefix + key, content)
    trainer.end(v1.EXIT_CODE_PREEMPTED, "stopped")
    second = await api.launched(name, 2)
    second.claim()
    api.service.store.put_new(job.run(2).previews_prefix + "0000010/00.png", b"drawn again")

    found = await drawn(api, name)
    assert [(one.step, one.strength, one.place, content) for one, content in found] == [
        (0, 0.0, 0, b"base"),
        (0, 0.0, 1, b"base cat"),
        (10, 0.5, 0, large),
        (10, 1.0, 0, b"drawn again"),
    ]
    first = found[0][0]
    assert (first.prompt, first.negative_prompt, first.seed) == ("qzx on grass", "not qzx", 7)
    assert all(one.size_bytes == len(content) for one, content in found)
    assert [content for _, content in await drawn(api, name, after_step=0, plain=True)] == [b"drawn again"]
    assert [content for _, content in await drawn(api, name, step=0)] == [b"base", b"base cat"]


async def test_what_cannot_be_answered_is_said(api: Api) -> None:
    name = await new_job(api)
    assert await drawn(api, name) == []
    both = await error_of(drawn(api, name, step=1, after_step=1))
    assert (both.code, both.reasons) == (grpc.StatusCode.INVALID_ARGUMENT, {"step": "CONFLICT"})
    assert set((await error_of(drawn(api, name, step=-1))).violations) == {"step"}
    missing = await error_of(drawn(api, "trainingJobs/0123456789abcdef"))
    assert missing.code == grpc.StatusCode.NOT_FOUND
