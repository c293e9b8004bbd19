"""What the place where a trainer runs decides: read from the environment once, at the start."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrainerSettings(BaseSettings):
    """Variables begin with `LORAMILL_TRAINER_`; empty ones count as unset."""

    model_config = SettingsConfigDict(env_prefix="LORAMILL_TRAINER_", env_ignore_empty=True, frozen=True)

    work_dir: Path | None = Field(None, description="Scratch folder for downloads; a temporary one if unset.")
    bases: Path | None = Field(None, description="Folder of base models on this node, by digest; none if unset.")
    caches: Path | None = Field(
        None, description="Folder of latents and embeddings on this machine, kept between jobs; none if unset."
    )
    caches_gib: float = Field(20.0, gt=0, description="GiB to which that folder is brought down when a run begins.")
    metrics_port: int | None = Field(None, ge=1, le=65535, description="Port of Prometheus metrics; none if unset.")
    metrics_address: str = Field("127.0.0.1", description="Address of Prometheus metrics.")
    device: str | None = Field(None, description="torch device; the first GPU if there is one, else the CPU.")
    threads: int | None = Field(None, ge=1, description="CPU threads of torch; its own choice if unset.")
    store_seconds: float = Field(
        600.0,
        gt=0,
        description="Seconds for which a store that does not answer is asked again before the run gives up.",
    )
    report_seconds: float = Field(1.0, gt=0, description="Seconds between reports of progress.")
