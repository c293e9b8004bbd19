"""What surrounds every call, outermost first: its id in log and answer, measurement, errors → status, identity.

Each is an async context manager around the handler; `Surround` puts them around handlers of every shape.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from grpc_status import rpc_status
from opentelemetry.trace import SpanKind

from service.caller import Caller, credentials_end, set_caller
from service.errors import Internal, NotAvailable, NotIdentified, NotPermitted, status_of, translated
from store.tracing import TRACE_PARENT, TRACER, context_of

if TYPE_CHECKING:
    from service.auth.refusals import Refusals
    from service.metrics import RpcMetrics

log = structlog.get_logger(__name__)

CALL_ID_METADATA = "x-call-id"
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRACE_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context


@dataclass(frozen=True)
class Call:
    """One call, as the surroundings see it."""

    method: str
    call_id: str
    trace_id: str | None
    context: grpc.aio.ServicerContext[Any, Any]
    trace_parent: str = ""
    """The caller's span, as its metadata say it in W3C Trace Context."""
    streams: bool = False
    """Whether it has many answers."""


Surrounding = Callable[[Call], AbstractAsyncContextManager[None]]
Identify = Callable[[Call], Awaitable[Caller | None]]
"""Who calls; None where nobody is asked. Raises NotIdentified, NotPermitted, and NotAvailable where that cannot be found out."""


class Surround(grpc.aio.ServerInterceptor):
    """Enters all surroundings, in order, around each call."""

    def __init__(self, surroundings: Sequence[Surrounding]) -> None:
        self._surroundings = tuple(surroundings)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler = await continuation(handler_call_details)
        if handler is None:  # no such method: gRPC answers UNIMPLEMENTED
            return handler
        call = _calls(handler_call_details)
        if handler.response_streaming:
            return self._streaming(handler, lambda context: replace(call(context), streams=True))
        return self._unary(handler, call)

    async def _enter(self, stack: AsyncExitStack, call: Call) -> None:
        for surrounding in self._surroundings:
            await stack.enter_async_context(surrounding(call))

    def _unary(self, handler: Any, call: Callable[[Any], Call]) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        wrap = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )

        async def serve(request: Any, context: Any) -> Any:
            async with AsyncExitStack() as stack:
                await self._enter(stack, call(context))
                return await behaviour(request, context)

        return wrap(serve, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, handler: Any, call: Callable[[Any], Call]) -> grpc.RpcMethodHandler[Any, Any]:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        wrap = (
            grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
        )

        async def serve(request: Any, context: Any) -> AsyncIterator[Any]:
            async with AsyncExitStack() as stack:
                await self._enter(stack, call(context))
                answers = behaviour(request, context)
                if not hasattr(answers, "__aiter__"):  # health and reflection write to the context themselves
                    await answers
                    return
                async with aclosing(answers):
                    async for answer in _while_identified(answers):
                        yield answer

        return wrap(serve, handler.request_deserializer, handler.response_serializer)


async def _while_identified(answers: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Passes answers on until the caller's credentials end, so that a stream lives no longer than they do."""
    end = credentials_end()
    while True:
        try:
            async with asyncio.timeout(None if end is None else end - time.time()) as limit:
                answer = await anext(answers)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if limit.expired():
                sentence = "The credentials that this call began with have expired; call again with new ones."
                raise NotIdentified(sentence, "CREDENTIALS_EXPIRED") from None
            raise
        yield answer


def _calls(details: grpc.HandlerCallDetails) -> Callable[[Any], Call]:
    """How to make the Call of these details, once its context is there."""
    metadata = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
    asked = metadata.get(CALL_ID_METADATA, "")
    call_id = asked if _CALL_ID.fullmatch(asked) else uuid.uuid4().hex
    trace = _TRACE_PARENT.fullmatch(metadata.get(TRACE_PARENT, ""))
    trace_id, trace_parent = (trace.group(1), trace.group(0)) if trace else (None, "")
    return lambda context: Call(details.method, call_id, trace_id, context, trace_parent)


@asynccontextmanager
async def named(call: Call) -> AsyncIterator[None]:
    """Puts the call's id, and its trace if it has one, into every log line and into the answer."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(call_id=call.call_id, method=call.method)
    if call.trace_id is not None:
        structlog.contextvars.bind_contextvars(trace_id=call.trace_id)
    call.context.set_trailing_metadata(((CALL_ID_METADATA, call.call_id),))
    yield


@asynccontextmanager
async def traced(call: Call) -> AsyncIterator[None]:
    """A span of the caller's trace, or the first of one. Not of streams, which last as long as somebody listens."""
    if call.streams:
        yield
        return
    service, _, method = call.method.strip("/").partition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "loramill.call_id": call.call_id}
    with TRACER.start_as_current_span(
        f"{service}/{method}", context_of(call.trace_parent), SpanKind.SERVER, attributes, record_exception=False
    ) as span:
        try:
            yield
        finally:
            code = call.context.code()
            span.set_attribute("rpc.grpc.status_code", _code_name(code) if code is not None else "OK")


def measured(metrics: RpcMetrics) -> Surrounding:
    """Counts the call by method and code, and its duration."""

    @asynccontextmanager
    async def surrounding(call: Call) -> AsyncIterator[None]:
        start = time.perf_counter()
        code = "CANCELLED"  # unless the call comes to an end of its own: the caller went away, or the service stops
        try:
            yield
            code = "OK"
        except grpc.aio.AbortError:
            code = _code_name(call.context.code())
            raise
        finally:
            metrics.observe(call.method, code, time.perf_counter() - start)

    return surrounding


def _code_name(code: Any) -> str:
    """aio gives the code as an enum or as its number."""
    by_number = {status.value[0]: status.name for status in grpc.StatusCode}
    return code.name if isinstance(code, grpc.StatusCode) else by_number.get(code, "UNKNOWN")


@asynccontextmanager
async def answered(call: Call) -> AsyncIterator[None]:
    """Turns every exception into a google.rpc.Status; an unforeseen one into an id that is also in the log."""
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except Exception as error:
        told = translated(error, call.call_id)
        if isinstance(told, Internal):
            log.exception("call failed unexpectedly", exc_info=error)
        elif not isinstance(told, NotIdentified | NotPermitted):  # of those anybody can cause any number
            log.info("call refused", code=told.code.name, reason=told.reason, message=told.message)
        status = rpc_status.to_status(status_of(told))
        trailing = (*status.trailing_metadata, (CALL_ID_METADATA, call.call_id))
        await call.context.abort(status.code, status.details, trailing)


def identified(identify: Identify, refusals: Refusals) -> Surrounding:
    """Finds out who calls."""

    @asynccontextmanager
    async def surrounding(call: Call) -> AsyncIterator[None]:
        try:
            caller = await identify(call)
        except (NotIdentified, NotPermitted, NotAvailable) as error:
            refusals.note(error, call.context.peer())
            raise
        if caller is not None:
            set_caller(caller)
        yield

    return surrounding
