"""Free ports of the loopback interface."""

import random
import socket
from itertools import islice

LOOPBACK = "127.0.0.1"

CANDIDATES = range(20_000, 32_000)
"""Ports below those for outgoing connections, one of which could take a port before its server does."""


def free_ports(count: int) -> list[int]:
    """`count` different free ports."""
    shuffled = random.sample(CANDIDATES, len(CANDIDATES))
    return list(islice((port for port in shuffled if is_free(LOOPBACK, port)), count))


def is_free(host: str, port: int) -> bool:
    """Whether the port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
