from __future__ import annotations

import grpc
import pytest

from loramill import errors
from loramill.client import Client
from loramill.errors import ClientError, from_rpc
from tests.client.fake_service import FakeService


class _Raised(grpc.RpcError):
    """What gRPC raises, made by hand."""

    def __init__(self, code: grpc.StatusCode, details: str = "", metadata: tuple = ()) -> None:
        self._parts = (code, details, metadata)

    def code(self) -> grpc.StatusCode:
        return self._parts[0]

    def details(self) -> str:
        return self._parts[1]

    def trailing_metadata(self) -> tuple:
        return self._parts[2]


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_every_code_becomes_a_sentence_of_the_tree(code: grpc.StatusCode) -> None:
    error = from_rpc(_Raised(code), "127.0.0.1:1")
    assert isinstance(error, ClientError)
    assert len(str(error).split()) >= 5


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, errors.Unreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, errors.Unreachable),
        (grpc.StatusCode.CANCELLED, errors.Unreachable),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.NOT_FOUND, errors.NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, errors.AlreadyExists),
        (grpc.StatusCode.FAILED_PRECONDITION, errors.NotNow),
        (grpc.StatusCode.UNAUTHENTICATED, errors.NotAuthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.NotAllowed),
        (grpc.StatusCode.INTERNAL, errors.ServerFailed),
        (grpc.StatusCode.UNIMPLEMENTED, errors.ServerFailed),
    ],
)
def test_codes(code: grpc.StatusCode, kind: type[ClientError]) -> None:
    assert type(from_rpc(_Raised(code, "It is so."), "127.0.0.1:1")) is kind


def test_an_unreadable_status_costs_only_its_details() -> None:
    error = from_rpc(_Raised(grpc.StatusCode.NOT_FOUND, "Gone.", (("grpc-status-details-bin", b"\xff\xff"),)), "x:1")
    assert str(error) == "Gone."


def test_violations_and_reason_arrive(service: FakeService, client: Client) -> None:
    service.state.violations = [("spec.adapter.rank", "must be 1 to 1024, not 0"), ("spec.unet", "spec.unet is odd")]
    with pytest.raises(errors.InvalidRequest) as raised:
        client.create_job(_spec())
    assert raised.value.reason == "INVALID_REQUEST"
    assert [violation.field for violation in raised.value.violations] == ["spec.adapter.rank", "spec.unet"]
    assert str(raised.value).splitlines() == [
        "The service refused the request:",
        "  spec.adapter.rank: must be 1 to 1024, not 0",
        "  spec.unet is odd",
    ]


def test_a_service_that_is_there_but_cannot_speaks_for_itself() -> None:
    from google.protobuf import any_pb2
    from google.rpc import error_details_pb2, status_pb2

    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason="NOT_AVAILABLE"))
    status = status_pb2.Status(code=14, message="The store is full.", details=[detail]).SerializeToString()
    raised = _Raised(grpc.StatusCode.UNAVAILABLE, "The store is full.", (("grpc-status-details-bin", status),))
    assert str(from_rpc(raised, "x:1")) == "The store is full."


def _spec():
    from loramill import v1

    return v1.TrainingSpec(base_model="baseModels/shapes")
