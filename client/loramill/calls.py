"""Calls over one channel: deadlines, pages, streams, and gRPC's errors turned into those of `loramill.errors`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import grpc

from loramill import channel, errors
from loramill.interrupts import off_main_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loramill.credentials import Credentials

Request = TypeVar("Request")
Answer = TypeVar("Answer")

ANSWER_SECONDS = 60.0
"""How long an ordinary call may take, its retries included."""
LONG_SECONDS = 3600.0
"""How long a call may take that moves files or reads through them."""


class PageRequest(Protocol):
    page_token: str


class Page(Protocol):
    @property
    def next_page_token(self) -> str: ...


AnyPageRequest = TypeVar("AnyPageRequest", bound=PageRequest)
AnyPage = TypeVar("AnyPage", bound=Page)


class Calls:
    """One channel to `address` (host:port), and how calls are made over it. May be used by many threads.

    Each call carries the credentials as they are then. Every method may raise CredentialsError.
    """

    def __init__(self, address: str, credentials: Credentials) -> None:
        """Raises CredentialsError."""
        credentials.check(address)
        self.address = address
        self.channel = channel.open_channel(address, credentials.of_channel())
        self._credentials = credentials

    def close(self) -> None:
        self.channel.close()

    def unary(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """One request, one answer."""
        metadata = self._credentials.metadata()
        try:
            return off_main_thread(lambda: method(request, timeout=timeout, metadata=metadata))
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    def pages(
        self, method: grpc.UnaryUnaryMultiCallable[AnyPageRequest, AnyPage], request: AnyPageRequest
    ) -> Iterator[AnyPage]:
        """Every page, each fetched when it is asked for. Writes the token into `request`."""
        while True:
            page = self.unary(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def upload(self, method: grpc.StreamUnaryMultiCallable[Request, Answer], requests: Iterator[Request]) -> Answer:
        """Many requests, one answer."""
        metadata = self._credentials.metadata()
        try:
            return off_main_thread(lambda: method(requests, timeout=LONG_SECONDS, metadata=metadata))
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None

    def stream(
        self,
        method: grpc.UnaryStreamMultiCallable[Request, Answer],
        request: Request,
        *,
        timeout: float | None = None,
    ) -> Iterator[Answer]:
        """One request, many answers. Whoever stops iterating and closes the generator ends the call."""
        metadata = self._credentials.metadata()
        call = off_main_thread(lambda: method(request, timeout=timeout, metadata=metadata))
        try:
            while (answer := off_main_thread(lambda: next(call, None))) is not None:
                yield answer
        except grpc.RpcError as error:
            raise errors.from_rpc(error, self.address) from None
        finally:
            off_main_thread(call.cancel)
