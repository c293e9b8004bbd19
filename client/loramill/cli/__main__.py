"""`python -m loramill.cli`: the command where the package is not installed, as in the service's image."""

from loramill.cli.main import run

run()
