"""Kubernetes' refusals as our errors. What the API server says stays in the message; transport errors keep their cause.

KubeError                a fault that retrying may mend, or that a user can
├── Unavailable          the API server cannot be reached, is overloaded or starting
│   └── Failing          429 or 5xx in its own words, such as those of an admission webhook that is down
├── NotFound             404
├── Conflict             409: somebody else wrote first, or the name is taken
├── Gone                 410: the watch is too old, list again
└── Refused              400, 401, 403, 422: as asked, it will not be done
"""

import json
from typing import Any

from pilotfish.base.errors import PilotfishError

_WORDS_LIMIT = 1024


class KubeError(PilotfishError):
    """The API server did not do as asked."""


class Unavailable(KubeError):
    """The API server cannot be reached, is overloaded or starting."""


class Failing(Unavailable):
    """The API server answered, and said why it cannot do it now."""


class NotFound(KubeError):
    """There is no such object, or no such API."""


class Conflict(KubeError):
    """Somebody else wrote first, or the name is taken."""


class Gone(KubeError):
    """The resource version is no longer known: list again."""


class Refused(KubeError):
    """As asked, it will not be done: no permission, a quota, or an invalid object."""


_BY_STATUS: dict[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone}


def error_of(status: int, body: bytes, what: str) -> KubeError:
    """The error for an HTTP status of 400 or more. `what` says what was asked, without secrets."""
    words = _words(body)
    kind = _BY_STATUS.get(status)
    if kind is None:
        away = Failing if words else Unavailable
        kind = away if status == 429 or status >= 500 else Refused
    return kind(f"{what}: {words or 'no message in the answer'} ({status})")


def _words(body: bytes) -> str:
    """The message of a metav1.Status. Bodies of another shape may hold anything: they are not repeated."""
    try:
        status: Any = json.loads(body)
    except ValueError:
        return ""
    message = status.get("message") if isinstance(status, dict) else None
    return message[:_WORDS_LIMIT] if isinstance(message, str) else ""
