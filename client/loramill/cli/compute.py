"""`loramill compute`: the kinds of machine that jobs can run on; and how a job's is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from loramill.cli.common import Output, OutputOption, ServerOption, connect
from loramill.cli.output import print_many

if TYPE_CHECKING:
    from loramill import v1

app = typer.Typer(help="Compute classes: what jobs can run on.", no_args_is_help=True)


@app.command("list")
def list_(context: typer.Context, output: OutputOption = Output.TABLE, server: ServerOption = None) -> None:
    """List the compute classes, cheapest first."""
    columns = {
        "CLASS": lambda offer: offer.name,
        "GPUS": gpus_of,
        "SPOT": lambda offer: "yes" if offer.spot else "",
        "PRICE": price_of,
        "DESCRIPTION": lambda offer: offer.description,
    }
    with connect(context, server) as client:
        print_many(client.list_compute_classes(), output, columns)


def plan_line(plan: v1.ComputePlan) -> str:
    """`gpu-spot (1 GPU of 24 GiB, spot, 0.4 USD an hour)`; empty for a job without a class, as in local mode."""
    if not plan.compute_class:
        return ""
    parts = [gpus_of(plan), "spot" if plan.spot else "", price_of(plan)]
    return f"{plan.compute_class} ({', '.join(part for part in parts if part)})"


def gpus_of(offer: v1.ComputeClass | v1.ComputePlan) -> str:
    """`2 GPUs of 80 GiB`."""
    if not offer.gpus:
        return "no GPU"
    count = "1 GPU" if offer.gpus == 1 else f"{offer.gpus} GPUs"
    return f"{count} of {offer.gpu_memory_gib} GiB" if offer.gpu_memory_gib else count


def price_of(offer: v1.ComputeClass | v1.ComputePlan) -> str:
    """`0.4 USD an hour`; empty where the operator named no price."""
    if not offer.price_per_hour:
        return ""
    return " ".join(part for part in (f"{offer.price_per_hour:g}", offer.currency, "an hour") if part)
