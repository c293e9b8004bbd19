"""An event file for TensorBoard: what a job has measured, and what it has drawn.

Times are those of the measurements, so that a report that is made again is the same. It is written whole at the end, through
tensorboardX's protobuf messages and records, and not while the job trains: Watch and metrics tell that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from loramill import v1
from trainer.gallery import Gallery
from trainer.png import as_png
from trainer.report.pictures import reduced

VERSION = "brain.Event:2"
"""What TensorBoard expects in a file's first record."""
LARGEST_PICTURE = 256
"""Pixels a side: every byte of a record is summed up in Python."""


def write_event_file(metrics: Sequence[v1.TrainingMetric], gallery: Gallery, created: datetime, path: Path) -> None:
    """Everything in order of step; `created` is when the job was."""
    writer = RecordWriter(str(path))
    start = created.timestamp()
    writer.write(Event(wall_time=start, file_version=VERSION).SerializeToString())
    times = {0: start}
    for metric in metrics:
        times[metric.step] = metric.time.ToDatetime(tzinfo=UTC).timestamp()
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in _measured(metric)]
        writer.write(_event(times[metric.step], metric.step, values))
    for step in sorted(gallery.plain):
        pictures = [
            Summary.Value(tag=f"preview/{place:02d}", image=_image(reduced(picture, LARGEST_PICTURE)))
            for place, picture in enumerate(gallery.plain[step])
        ]
        writer.write(_event(times.get(step, start), step, pictures))
    writer.close()


def _measured(metric: v1.TrainingMetric) -> Iterator[tuple[str, float]]:
    yield "loss/train", metric.loss
    if metric.HasField("prior_loss"):
        yield "loss/prior", metric.prior_loss
    if metric.HasField("validation_loss"):
        yield "loss/validation", metric.validation_loss
    bands = len(metric.loss_by_band)
    for band, loss in enumerate(metric.loss_by_band):
        if math.isfinite(loss):
            yield f"loss_by_timestep/{100 * band // bands}-{100 * (band + 1) // bands}%", loss
    yield "learning_rate", metric.learning_rate
    yield "gradient_norm", metric.gradient_norm
    yield "images_per_second", metric.images_per_second
    if metric.HasField("memory_bytes"):
        yield "memory_bytes", float(metric.memory_bytes)


def _image(picture: Image.Image) -> Summary.Image:
    return Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=3,
        encoded_image_string=as_png(picture),
    )


def _event(time: float, step: int, values: Sequence[Summary.Value]) -> bytes:
    content: bytes = Event(wall_time=time, step=step, summary=Summary(value=values)).SerializeToString()
    return content
