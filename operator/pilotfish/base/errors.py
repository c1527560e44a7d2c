"""Exceptions for errors that a user can fix. Any other exception is a bug and is logged with its traceback.

PilotfishError
├── ManifestError        a manifest that cannot be read or is not valid
├── ConfigError          a plugin's, scorer's or engine's settings are invalid; has the field
├── PluginError          a plugin cannot be found or loaded
├── WeightsError         weights cannot be found, read, verified or converted
├── MachineError         the machine does not meet a requirement
├── RuntimeFailure       Ray or an engine does not start, or stopped
│   ├── Unavailable      Ray, Serve or an engine does not answer now
│   │   └── NoAnswer     nothing was received from it, for example in time
│   └── EngineFailed     an engine ended while it started
└── RequestError         a request cannot be answered; has an HTTP status
    ├── BadRequest                400
    ├── RequestRefused            400
    ├── Unauthorized              401
    ├── ModelNotFound             404
    ├── BodyTooLarge              413
    ├── TooManyRequests           429
    ├── ClientTimeout             408
    ├── PluginFailed              500
    ├── UpstreamError             an error of the model server, passed on
    ├── BadUpstream               502
    ├── ModelUnavailable          503
    └── DeadlineExceeded          504
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class PilotfishError(Exception):
    """An error that a user can fix. The message has the cause and the fix in one line."""

    details: str = ""
    """Details of the error, for a log."""
    transient: bool | None = False
    """Whether another try may succeed though nothing was changed. None: not known before the fault has come twice."""


class ManifestError(PilotfishError):
    """A manifest cannot be read, or is not valid."""


class ConfigError(PilotfishError):
    """Settings of a plugin, scorer or engine are invalid."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class PluginError(PilotfishError):
    """A plugin cannot be found or loaded."""


class WeightsError(PilotfishError):
    """Weights cannot be found, read, verified or converted."""

    def __init__(self, message: str, *, transient: bool | None = False) -> None:
        super().__init__(message)
        self.transient = transient


class MachineError(PilotfishError):
    """The machine does not meet a requirement."""


class RuntimeFailure(PilotfishError):
    """Ray or an engine does not start, or stopped."""

    transient: bool | None = None


class Unavailable(RuntimeFailure):
    """Ray, Serve or an engine does not answer now, or answers with a fault of its own (5xx)."""

    transient = True

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details


class NoAnswer(Unavailable):
    """Nothing was received: no connection, or no complete answer in time. An overloaded engine looks like this too."""


class EngineFailed(RuntimeFailure):
    """An engine ended while it started."""

    def __init__(self, reason: str, *, transient: bool | None, details: str = "") -> None:
        super().__init__(reason)
        self.transient = transient
        self.details = details


class RequestError(PilotfishError):
    """A request cannot be answered. The gateway sends it in the error format of OpenAI's API."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param

    @property
    def http_status(self) -> int:
        """The HTTP status for the client."""
        return self.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The HTTP headers of the error."""
        return {}

    def body(self) -> dict[str, Any]:
        """The error in OpenAI's format."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(RequestError):
    """The body or a parameter is invalid."""

    status = 400
    type = "invalid_request_error"


class RequestRefused(RequestError):
    """An adaptation plugin refused the request or its answer. No other pool is asked."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, code="content_filter")


class PluginFailed(RequestError):
    """An adaptation plugin failed, and its failurePolicy is Fail. No other pool is asked."""

    type = "plugin_error"


class Unauthorized(RequestError):
    """The API key is missing or not valid."""

    status = 401
    type = "authentication_error"


class ModelNotFound(RequestError):
    """No router and no pool has that name."""

    status = 404
    type = "invalid_request_error"


class BodyTooLarge(RequestError):
    """The body of the request is larger than the limit."""

    status = 413
    type = "invalid_request_error"


class ClientTimeout(RequestError):
    """The client was too slow to send its request."""

    status = 408
    type = "timeout_error"


class TooManyRequests(RequestError):
    """A limit is reached."""

    status = 429
    type = "rate_limit_error"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message, code="rate_limit_exceeded")
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """The Retry-After header."""
        return {"Retry-After": str(self.retry_after_seconds)}


class BadUpstream(RequestError):
    """A model server sent an empty, incomplete or invalid response."""

    status = 502
    type = "upstream_error"


class ModelUnavailable(RequestError):
    """No replica of the model can answer now."""

    status = 503
    type = "service_unavailable_error"

    def __init__(self, message: str, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """The Retry-After header."""
        return {"Retry-After": str(self.retry_after_seconds)}


class DeadlineExceeded(RequestError):
    """The answer took longer than the router allows."""

    status = 504
    type = "timeout_error"


class UpstreamError(RequestError):
    """A model server rejected the request. Its error and status are passed on."""

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: str | None = None) -> None:
        error = body.get("error")
        message = error.get("message") if isinstance(error, dict) else None
        super().__init__(str(message or f"the model server answered with status {status}"))
        self._status = status
        self._body = body
        self._retry_after = retry_after

    @property
    def http_status(self) -> int:
        """The HTTP status of the model server."""
        return self._status

    @property
    def headers(self) -> Mapping[str, str]:
        """The Retry-After header, if the model server sent one."""
        return {"Retry-After": self._retry_after} if self._retry_after else {}

    def body(self) -> dict[str, Any]:
        """The error of the model server, in OpenAI's format."""
        if isinstance(self._body.get("error"), dict):
            return self._body
        return {"error": {"message": self.message, "type": "upstream_error", "param": None, "code": self._status}}
