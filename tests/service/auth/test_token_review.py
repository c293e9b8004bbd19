"""Service accounts' tokens: what of the API server's answer counts, and for how long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from service.auth.bearer import Claimed
from service.auth.identity import Identity, Way
from service.auth.token_review import LET_IN_S, TURNED_AWAY_S, TokenReviews, identity_of
from service.errors import NotAvailable, NotIdentified
from service.kubernetes_errors import Forbidden, TooManyRequests, Unavailable

ACCOUNT = {"username": "system:serviceaccount:team:robot"}
GOOD = {"authenticated": True, "audiences": ["loramill"], "user": ACCOUNT}


@pytest.mark.parametrize(
    ("status", "subject"),
    [
        (GOOD, "team/robot"),
        ({**GOOD, "audiences": ["other", "loramill"]}, "team/robot"),
        ({}, None),
        ({**GOOD, "authenticated": False}, None),
        ({**GOOD, "authenticated": "true"}, None),
        ({**GOOD, "audiences": []}, None),
        ({**GOOD, "audiences": None}, None),
        ({"authenticated": True, "user": ACCOUNT}, None),
        ({**GOOD, "audiences": ["other"]}, None),
        ({**GOOD, "user": {}}, None),
        ({**GOOD, "user": {"username": "admin"}}, None),
        ({**GOOD, "user": {"username": "system:node:node1"}}, None),
        ({**GOOD, "user": {"username": "x:system:serviceaccount:team:robot"}}, None),
        ({**GOOD, "user": {"username": "system:serviceaccount:team"}}, None),
    ],
)
def test_only_an_account_that_was_reviewed_for_our_audience_counts(status: dict, subject: str | None) -> None:
    found = identity_of(status, "loramill", 5.0)
    if subject is None:
        assert isinstance(found, NotIdentified)
    else:
        assert found == Identity(Way.SERVICE_ACCOUNT, subject, 5.0)


class World:
    """An API server that is asked at a time of the test's own."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self.now = 1000.0
        self.status: dict | Exception = GOOD
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._reviews = TokenReviews(self._review, "loramill", threads, lambda: self.now)

    def _review(self, token: str, audiences: list[str]) -> dict:
        assert (token, audiences) == ("t", ["loramill"])
        self.asked += 1
        self.may_answer.wait(10)
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    async def ask(self, *audiences: str, expires: float = 2000.0) -> Identity:
        claims = Claimed("cluster", frozenset(audiences or ["loramill"]), expires)
        return await self._reviews.identity("t", claims)


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(8) as threads:
        yield World(threads)


async def test_a_good_answer_counts_for_a_minute(world: World) -> None:
    await world.ask()
    world.now += LET_IN_S - 1
    assert (await world.ask()).subject == "team/robot"
    assert world.asked == 1
    world.now += 2
    world.status = {}
    with pytest.raises(NotIdentified):
        await world.ask()
    assert world.asked == 2


async def test_and_never_beyond_the_end_of_the_token(world: World) -> None:
    await world.ask(expires=1010.0)
    world.now = 1010.0
    with pytest.raises(NotIdentified, match="expired"):
        await world.ask(expires=1010.0)


async def test_a_bad_answer_counts_for_a_moment(world: World) -> None:
    world.status = {}
    for _ in range(3):
        with pytest.raises(NotIdentified):
            await world.ask()
    assert world.asked == 1
    world.status = GOOD
    world.now += TURNED_AWAY_S + 1
    assert await world.ask()


@pytest.mark.parametrize(
    "error",
    [Unavailable("POST", "down"), TooManyRequests("POST", "slow down"), Forbidden("POST", "no right to review")],
)
async def test_no_answer_is_no_identity_and_is_not_remembered(world: World, error: Exception) -> None:
    world.status = error
    with capture_logs() as lines, pytest.raises(NotAvailable) as raised:
        await world.ask()
    assert raised.value.reason == "AUTHENTICATION_UNAVAILABLE"
    assert [line["problem"] for line in lines] == [str(error)], "whoever operates the service is told why"
    world.status = GOOD
    assert await world.ask()


async def test_the_api_server_is_not_asked_about_tokens_for_others(world: World) -> None:
    with pytest.raises(NotIdentified):
        await world.ask("https://kubernetes.default.svc")
    assert world.asked == 0


async def test_a_token_is_asked_for_once_at_a_time_also_where_the_first_caller_goes_away(world: World) -> None:
    world.may_answer.clear()
    calls = [asyncio.create_task(world.ask()) for _ in range(20)]
    while not world.asked:
        await asyncio.sleep(0)
    calls[0].cancel()
    world.may_answer.set()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(answer, Identity) for answer in found[1:])
    assert world.asked == 1
