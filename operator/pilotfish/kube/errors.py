"""Errors of the API server as exceptions with its message. Transport errors keep their cause.

KubeError                an error that a retry or a user may fix
├── Unavailable          the API server cannot be reached, is overloaded or starting
│   └── Failing          429 or 5xx with a message, such as that of an admission webhook that is down
├── NotFound             404
├── Conflict             409: another client wrote first, or the name exists
├── Gone                 410: the watch is too old, list again
└── Refused              400, 401, 403, 422: the request was rejected
"""

import json
from typing import Any

from pilotfish.base.errors import PilotfishError

_WORDS_LIMIT = 1024


class KubeError(PilotfishError):
    """A request to the API server failed."""


class Unavailable(KubeError):
    """The API server cannot be reached, is overloaded or starting."""


class Failing(Unavailable):
    """The API server answered with the reason why it cannot process the request now."""


class NotFound(KubeError):
    """The object or the API does not exist."""


class Conflict(KubeError):
    """Another client wrote first, or the name exists."""


class Gone(KubeError):
    """The resource version is no longer known: list again."""


class Refused(KubeError):
    """The request was rejected: no permission, a quota, or an invalid object."""


_BY_STATUS: dict[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone}


def error_of(status: int, body: bytes, what: str) -> KubeError:
    """The error for an HTTP status of 400 or more. `what` describes the request, without secrets."""
    words = _words(body)
    kind = _BY_STATUS.get(status)
    if kind is None:
        away = Failing if words else Unavailable
        kind = away if status == 429 or status >= 500 else Refused
    return kind(f"{what}: {words or 'no message in the answer'} ({status})")


def _words(body: bytes) -> str:
    """The message of a metav1.Status. Other bodies are not repeated, because they may contain anything."""
    try:
        status: Any = json.loads(body)
    except ValueError:
        return ""
    message = status.get("message") if isinstance(status, dict) else None
    return message[:_WORDS_LIMIT] if isinstance(message, str) else ""
