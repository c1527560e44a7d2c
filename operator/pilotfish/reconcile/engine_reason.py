"""The cause of an engine's failed start, in one line, from Serve's message and the engine's log."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST = 400
"""Maximum length of a reason, characters."""

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
_TRANSIENT = re.compile(
    r"killed due to memory pressure|memory used.*exceeds|\bOOM\b|out of memory|timed out|timeout|address already in use"
    r"|connection (refused|reset|closed)|temporarily unavailable|actor.*(died|unavailable)|worker.*died|node.*died"
    r"|health check failed|free memory on device",
    re.IGNORECASE,
)
_LASTING = re.compile(
    r"\b(ValueError|TypeError|ValidationError|KeyError|AttributeError|NotImplementedError|ImportError"
    r"|ModuleNotFoundError|FileNotFoundError|PermissionError|SafetensorError)\b"
)
_SYMPTOM = "health check failed"
_TRACE = ("Traceback (most recent call last)", 'File "', "ray::", "^")
_WAITING = ("have taken more than", "This may be caused by", "waiting for", "pending")


@dataclass(frozen=True)
class Cause:
    """An exception that is a cause and not its echo: as it was logged, and as a reason for people."""

    exception: str
    reason: str


def exception_in(message: str) -> str | None:
    """The reason in the last exception of a message that is a cause and not its echo; None where there is none."""
    found = cause_in(message)
    return found.reason if found else None


def cause_in(message: str) -> Cause | None:
    """The last exception in a message that is a cause and not a repetition; None if there is none."""
    lines = _lines(message)
    for number, line in reversed(list(enumerate(lines))):
        found = _EXCEPTION.match(line)
        if found and not any(text in line for text in _LOOK_ELSEWHERE) and found["kind"] != "RayTaskError":
            # Pydantic prints the field and the fault in the two lines below its heading.
            detail = lines[number + 1 : number + 3] if _HEADING.search(line) else []
            return Cause(_cut(line), _cut(": ".join((_readable(found), *detail))))
    return None


def reason_from_message(message: str) -> str | None:
    """The cause in the message of a Serve deployment or application, or None if it has none or refers to a log."""
    if found := exception_in(message):
        return found
    lines = _lines(message)
    if not lines or any(text in lines[-1] for text in (*_LOOK_ELSEWHERE, *_WAITING, _SYMPTOM)):
        return None
    return None if lines[-1].startswith(("The deployment", "Deployment", *_TRACE)) else _cut(lines[-1])


def reason_from_log(lines: Iterable[str]) -> str | None:
    """The reason in the first exception of an engine's log that is a cause; None where there is none."""
    found = cause_from_log(lines)
    return found.reason if found else None


def cause_from_log(lines: Iterable[str]) -> Cause | None:
    """The first exception in an engine's log that is a cause and not a repetition; None if there is none."""
    for line in lines:
        text = _LOG_PREFIX.sub("", _ESCAPES.sub("", line.rstrip()))
        found = _EXCEPTION.match(text)
        if found and not any(echo in text for echo in _LOOK_ELSEWHERE):
            return Cause(_cut(text), _cut(_readable(found)))
    return None


def is_transient(text: str) -> bool | None:
    """Whether another start may succeed, by the exceptions in a message or log; None where they do not show it.

    Memory can be free again and a slow machine less busy; a wrong argument stays wrong.
    """
    if _TRANSIENT.search(text):
        return True
    return False if _LASTING.search(text) else None


def _lines(message: str) -> list[str]:
    return [line.strip() for line in _ESCAPES.sub("", message).splitlines() if line.strip()]


def _readable(found: re.Match[str]) -> str:
    if found["kind"] not in {"ValueError", "RuntimeError", "ValidationError"}:
        return found[0]
    inner = _EXCEPTION.match(found["text"])
    return _readable(inner) if inner else found["text"]


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
