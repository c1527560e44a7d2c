"""Settings of the processes, read once from the environment by the command line. Every field says unit and default."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class GatewaySettings:
    """How a gateway listens and what it allows."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8080
    """Port to listen on; 0 takes a free one."""
    max_body_bytes: int = 32 * 1024 * 1024
    """Larger request bodies get 413."""
    api_keys: frozenset[str] = frozenset()
    """Keys that clients may use; empty asks for none."""
    connect_timeout_seconds: float = 5.0
    """To open a connection to a model server."""
    idle_timeout_seconds: float = 300.0
    """Between two bytes of a model server's answer."""
    upstream_connections: int = 4096
    """Connections to model servers, all together."""
    drain_seconds: float = 30.0
    """Time that open requests get to finish when the gateway stops."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "GatewaySettings":
        """Read `PILOTFISH_API_KEYS` (comma-separated) and `PILOTFISH_MAX_BODY_BYTES`."""
        keys = frozenset(key for key in environ.get("PILOTFISH_API_KEYS", "").split(",") if key)
        return cls(api_keys=keys, max_body_bytes=int(environ.get("PILOTFISH_MAX_BODY_BYTES", cls.max_body_bytes)))
