"""The service's settings: flags before environment (LORAMILL_…) before defaults; read once, then frozen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict, SettingsError

_REPOSITORY = Path(__file__).resolve().parents[1]

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    raise ValueError("must be one line of printable characters, such as a date")


Name = Annotated[str, Field(max_length=100), AfterValidator(_one_line)]


class Unusable(Exception):
    """The service cannot start. The message is one sentence that names the thing and the remedy."""


class Settings(BaseSettings):
    """Flags are the names with `--` and hyphens; each help text gives unit and meaning."""

    model_config = SettingsConfigDict(
        env_prefix="LORAMILL_",
        frozen=True,
        extra="ignore",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    local: bool = Field(
        False, description="serve this machine alone: folder as store, subprocesses as trainers, loopback"
    )
    config: Path | None = Field(None, description="serve a cluster, as this operator's file (YAML) says")
    host: str = Field(
        "127.0.0.1", description="address that is served, with --config; without authentication loopback only"
    )
    port: Port = Field(50051, description="port of gRPC; 0 takes a free one")
    metrics_port: Port = Field(9464, description="port of /metrics; 0 takes a free one")
    health_port: Port = Field(50052, description="port of gRPC's health service without TLS, with --config")
    data: Path = Field(
        Path(".loramill"), description="folder of everything that is kept; with --config of unfinished uploads alone"
    )
    import_root: tuple[Path, ...] = Field((), description="folder below which base models may be imported; repeatable")
    import_bucket: tuple[str, ...] = Field(
        (), description="s3://bucket/prefix below which base models may be imported, with --local; repeatable"
    )
    import_limit: Annotated[int, Field(ge=1)] = Field(40 << 30, description="bytes of the largest base model imported")
    hub_endpoint: str = Field(
        default_factory=lambda: os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
        description="address of the hub that hf:// is imported from, with --local; HF_ENDPOINT by default, empty for none",
    )
    hub_token_file: Path | None = Field(
        None, description="file with the token that the hub is shown; without one HF_TOKEN of the environment"
    )
    dataset_root: tuple[str, ...] = Field(
        (), description="s3://bucket/folder/ below which datasets may be read, {tenant} for the caller's; repeatable"
    )
    restored: Name = Field(
        "",
        description="name of a restore of the store, such as its date: from when it is first named nothing is launched until "
        "an operator resumes the admission",
    )
    jobs: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="jobs that are trained at once; with --config the file says how many"
    )
    builtin_shapes: Path = Field(
        _REPOSITORY / "trainer/builtin/shapes/base", description="folder of the base model that comes with Loramill"
    )
    upload_limit: Annotated[int, Field(ge=1)] = Field(200 << 20, description="bytes of the largest file of a dataset")
    adapter_limit: Annotated[int, Field(ge=1)] = Field(2 << 30, description="bytes of the largest adapter uploaded")
    watch_interval: Seconds = Field(0.5, description="seconds between two looks at a watched job")
    reconcile_interval: Seconds = Field(1.0, description="seconds between two looks at every living job")
    stop_grace: Seconds = Field(5.0, description="seconds that calls under way have when the service is stopped")
    log_format: Literal["auto", "json", "plain"] = Field("auto", description="auto is plain on a terminal, else json")

    @property
    def reconcile_every(self) -> timedelta:
        return timedelta(seconds=self.reconcile_interval)


def read_settings(arguments: Sequence[str]) -> Settings:
    """Raises Unusable with every setting that is wrong; SystemExit for `--help` and unknown flags."""
    try:
        settings = CliApp.run(Settings, cli_args=list(arguments))
    except ValidationError as error:
        faults = "; ".join(_fault(fault["loc"], fault["input"], fault["msg"]) for fault in error.errors())
        raise Unusable(f"The settings cannot be used: {faults}.") from error
    except SettingsError as error:
        raise Unusable(f"The settings cannot be used: {error}.") from error
    if settings.local == (settings.config is not None):
        raise Unusable(
            "Say where to serve: start with --local for this machine alone, or with --config FILE for a cluster."
        )
    return settings


def _fault(place: tuple[int | str, ...], value: object, problem: str) -> str:
    name = str(place[0]) if place else "settings"
    flag, variable = name.replace("_", "-"), f"LORAMILL_{name.upper()}"
    return f"--{flag} ({variable}) is {value!r}: {problem.removeprefix('Value error, ')}"
