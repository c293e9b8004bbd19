"""How the client talks to the service: which calls are repeated when a connection fails, and the channel's options."""

from __future__ import annotations

import ipaddress
import json
import os
import re

import grpc

from loramill.errors import AddressError

DEFAULT_ADDRESS = "127.0.0.1:50051"
ADDRESS_VARIABLE = "LORAMILL_SERVER"

REPEATABLE: dict[str, tuple[str, ...]] = {
    "loramill.v1.TrainingService": (
        "CreateTrainingJob",  # the request_id, always sent, makes the second the first
        "AnalyzeConcept",  # likewise
        "GetTrainingJob",
        "ListComputeClasses",
        "GetAdmission",
        "SetAdmission",  # as it shall be: twice is once
        "ListStuckJobs",
        "GiveUpLaunch",  # names the launch: twice is once
        "ListTrainingJobs",
        "WatchTrainingJob",
        "CancelTrainingJob",
        "ListTrainingMetrics",
        "StreamTrainingLogs",
        "GetTrainingPreviews",
        "DownloadResult",
    ),
    "loramill.v1.DatasetService": (
        "CreateDataset",  # as CreateTrainingJob
        "UploadFile",  # the same file again is accepted
        "CreateUploadUrls",
        "CompleteUploads",
        "FinalizeDataset",
        "GetDataset",
        "ListDatasets",
        "GetDatasetReport",
        "CreateDatasetReport",  # as CreateTrainingJob
        "CaptionDataset",  # as CreateTrainingJob
    ),
    "loramill.v1.AdapterService": (
        "GetAdapter",
        "ListAdapters",
        "PromoteAdapter",  # again is accepted
        "DownloadAdapter",
        "CreateDownloadUrl",
        "UploadAdapter",  # as CreateTrainingJob
    ),
    "loramill.v1.BaseModelService": ("ListBaseModels", "GetBaseModel", "ImportBaseModel", "InspectTokens"),
}
"""Calls that may be sent twice. Deletes are not: after an unanswered success the second says NOT_FOUND."""

_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
}
_MEBIBYTE = 2**20
_KEEPALIVE_MS = 310_000
"""A server that was told nothing else takes more than a ping in five minutes for an attack, and hangs up."""

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>[0-9]{1,5})")


def address_or_default(address: str | None) -> str:
    """`address`, else the environment's, else the default, as host:port; AddressError if it is not of that form."""
    chosen = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
    match = _ADDRESS.fullmatch(chosen)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise AddressError(f"The server's address {chosen!r} must be host:port, such as {DEFAULT_ADDRESS}.")
    return chosen


def service_config() -> str:
    """gRPC's service config: exponential back-off with jitter for REPEATABLE, and for nothing else."""
    names = [{"service": service, "method": method} for service, methods in REPEATABLE.items() for method in methods]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": _RETRY_POLICY}]})


def open_channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """A channel to host:port, without `credentials` also without encryption; it connects with the first call."""
    options: list[tuple[str, str | int]] = [
        ("grpc.enable_retries", 1),
        ("grpc.service_config", service_config()),
        # What is sent is kept for a retry up to this size; a larger upload that breaks off is reported instead.
        ("grpc.per_rpc_retry_buffer_size", 16 * _MEBIBYTE),
        # A thousand long specs fit into one page.
        ("grpc.max_receive_message_length", 64 * _MEBIBYTE),
        # Sooner than gRPC's own first second: else the first retries would find no new attempt to connect.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        # Another client of this process must not inherit this one's back-off.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if is_loopback(address):
        options.append(("grpc.enable_http_proxy", 0))  # http_proxy of the environment is not for this machine itself
    if credentials is not None:
        return grpc.secure_channel(address, credentials, options=options)
    return grpc.insecure_channel(address, options=options)


def is_loopback(address: str) -> bool:
    """Whether host:port is on this machine."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
