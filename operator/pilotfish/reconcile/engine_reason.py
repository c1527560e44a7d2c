"""Why an engine did not start, in one line, out of what Serve and the engine's own log say."""

import re
from collections.abc import Iterable

LONGEST = 400
"""Characters of a reason; the rest is cut."""

_LOOK_ELSEWHERE = (
    "See root cause above",
    "Engine core initialization failed",
    "EngineDeadError",
    "ActorDiedError",
    "Traceback (most recent call last)",
)
_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?(?P<kind>[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure)): (?P<text>.+)"
)
_HEADING = re.compile(r"\d+ validation errors? for \w+$")
_LOG_PREFIX = re.compile(
    r"^(?:\([^)]*\)\s*)*"  # (EngineCore pid=1)
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\] ?)?"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_KILLED = re.compile(r"(killed due to memory pressure|memory used.*exceeds|OOM|out of memory)", re.IGNORECASE)
_SYMPTOM = "health check failed"
_TRACE = ("Traceback (most recent call last)", 'File "', "ray::", "^")
_WAITING = ("have taken more than", "This may be caused by", "waiting for", "pending")


def exception_in(message: str) -> str | None:
    """The last exception in a message that is a cause and not its echo; None where there is none."""
    lines = _lines(message)
    for number, line in reversed(list(enumerate(lines))):
        found = _EXCEPTION.match(line)
        if found and not any(text in line for text in _LOOK_ELSEWHERE) and found["kind"] != "RayTaskError":
            # Pydantic tells the field and the fault in the two lines below its heading.
            detail = lines[number + 1 : number + 3] if _HEADING.search(line) else []
            return _cut(": ".join((_readable(found), *detail)))
    return None


def reason_from_message(message: str) -> str | None:
    """The reason in a Serve deployment's or application's message, or None where it says none or points elsewhere."""
    if found := exception_in(message):
        return found
    lines = _lines(message)
    if not lines or any(text in lines[-1] for text in (*_LOOK_ELSEWHERE, *_WAITING, _SYMPTOM)):
        return None
    return None if lines[-1].startswith(("The deployment", "Deployment", *_TRACE)) else _cut(lines[-1])


def reason_from_log(lines: Iterable[str]) -> str | None:
    """The first exception in an engine's log that is a cause and not its echo; None where there is none."""
    for line in lines:
        text = _LOG_PREFIX.sub("", _ESCAPES.sub("", line.rstrip()))
        found = _EXCEPTION.match(text)
        if found and not any(echo in text for echo in _LOOK_ELSEWHERE):
            return _cut(_readable(found))
    return None


def worth_retrying(reason: str) -> bool:
    """Whether another start may end otherwise: memory can be free again, a wrong argument stays wrong."""
    return bool(_KILLED.search(reason))


def _lines(message: str) -> list[str]:
    return [line.strip() for line in _ESCAPES.sub("", message).splitlines() if line.strip()]


def _readable(found: re.Match[str]) -> str:
    return found["text"] if found["kind"] in {"ValueError", "RuntimeError", "ValidationError"} else found[0]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
