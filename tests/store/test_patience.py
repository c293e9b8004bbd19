"""How long a store that does not answer is asked again, by a clock of the test's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import stamina
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from store import StoreUnavailable, be_patient, patience
from store.s3_client import reported, retrying


class Clock:
    """Sleeping takes no time and moves it on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    found = Clock()
    monkeypatch.setattr(time, "sleep", found.sleep)
    monkeypatch.setattr(time, "monotonic", found.monotonic)
    monkeypatch.setattr(patience, "_patience", patience.Patience())
    with stamina.set_testing(False):
        yield found


def away_for(clock: Clock, seconds: float) -> Callable[[], str]:
    """A request to a store that answers again after so many seconds."""
    until = clock.now + seconds

    def request() -> str:
        if clock.now < until:
            raise EndpointConnectionError(endpoint_url="https://store")
        return "answer"

    return request


@pytest.mark.parametrize(("patient", "away"), [(None, 10), (600.0, 60), (600.0, 300), (10.0, 8)])
def test_an_outage_within_it_is_waited_for(patient: float | None, away: float, clock: Clock) -> None:
    if patient is not None:
        be_patient(patient)
    began = clock.now
    assert retrying(away_for(clock, away)) == "answer"
    assert clock.now - began < away + 6, "it is asked every few seconds"


@pytest.mark.parametrize(("patient", "away"), [(None, 300), (600.0, 700), (10.0, 60)])
def test_a_longer_one_is_told(patient: float | None, away: float, clock: Clock) -> None:
    if patient is not None:
        be_patient(patient)
    began = clock.now
    with pytest.raises(StoreUnavailable, match=r"s3://b/k could not be used: .*https://store"), reported("s3://b/k"):
        retrying(away_for(clock, away))
    assert clock.now - began < (patient or 90) + 6


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ClientError({"Error": {"Code": "InvalidAccessKeyId"}}, "GetObject"), "correct AWS_ACCESS_KEY_ID"),
        (ClientError({"Error": {"Code": "SignatureDoesNotMatch"}}, "GetObject"), "correct AWS_SECRET_ACCESS_KEY"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"), "grant these credentials"),
        (NoCredentialsError(), "give AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_told_at_once_with_the_remedy(error: Exception, remedy: str, clock: Clock) -> None:
    be_patient(600.0)
    began = clock.now

    def refused() -> None:
        raise error

    with pytest.raises(StoreUnavailable, match=remedy), reported("s3://b/k"):
        retrying(refused)
    assert clock.now == began
