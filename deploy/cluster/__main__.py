"""`python -m deploy.cluster up|down|status|build|images|advertise-gpus`: the local cluster.

With LORAMILL_CLUSTER_NAME another one beside it, without nodes of its own: `up` and `down` alone are of use there.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from deploy.cluster import go_builds, image_sizes, kubelet, packages, requirements, simulated, traces
from deploy.cluster import images as built_images
from deploy.cluster.errors import ClusterError
from deploy.cluster.paths import NAME, SIMULATED
from deploy.cluster.steps import Steps
from deploy.cluster.up import build as build_parts
from deploy.cluster.up import up as bring_up

app = typer.Typer(add_completion=False, no_args_is_help=True)
console = Console(soft_wrap=True)


@app.callback()
def before_every_command(context: typer.Context) -> None:
    """A local cluster: Kubernetes and S3 on this machine."""
    requirements.check()
    if SIMULATED and context.invoked_subcommand not in ("up", "down"):
        raise ClusterError(
            f"LORAMILL_CLUSTER_NAME is {NAME}, and a cluster of simulated nodes knows only `up` and `down`; unset it."
        )


@app.command()
def up() -> None:
    """Starts the cluster, or says that it runs."""
    if SIMULATED:
        simulated.up(console)
    else:
        bring_up(console)


@app.command()
def down() -> None:
    """Ends the cluster and removes every trace of it; caches stay."""
    if SIMULATED:
        simulated.down()
    else:
        traces.remove()
    console.print("Nothing of the cluster is left.")


@app.command()
def build(
    for_tests: Annotated[
        bool, typer.Option("--for-tests", help="Instead, the Go programs that only tests use, which have no network.")
    ] = False,
) -> None:
    """Makes what the cluster is made of, and starts nothing."""
    if for_tests:
        go_builds.build(go_builds.PROGRAMS_OF_TESTS)
    else:
        build_parts(Steps(console))


@app.command()
def images(
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Tell also what a registry would hold of them: minutes.")
    ] = False,
) -> None:
    """Builds the images of this tree, and tells how pods name them."""
    packages.install()
    built = built_images.build(Steps(console))
    for image in built:
        console.print(image.reference, highlight=False)
    if sizes:
        image_sizes.tell(console, built)


@app.command()
def status() -> None:
    """Lists all that is there of the cluster."""
    for trace in traces.find() or ["Nothing of the cluster is there."]:
        console.print(trace, markup=False, highlight=False)


@app.command()
def advertise_gpus() -> None:
    """Writes the nodes' GPUs into their status again."""
    kubelet.advertise_gpus()


def main() -> None:
    try:
        app()
    except ClusterError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise SystemExit(1) from None


main()
