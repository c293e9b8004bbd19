"""Whether a port can be had, asked before a server asks for it: gRPC would write lines of its own about one that is taken."""

from __future__ import annotations

import socket

from service.settings import Unusable


def check_port(host: str, port: int, flag: str) -> None:
    """Raises Unusable if somebody listens there, or if it is not for us."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        # As servers do it: connections of a service that has just ended do not count.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            raise Unusable(port_in_use(host, port, flag)) from error


def port_in_use(host: str, port: int, flag: str) -> str:
    return f"Port {port} of {host} is in use or not allowed; stop what listens there, or choose another with {flag}."
