"""The log that a recording continues. Rows are appended, and the later of two rows of one request counts."""

from pathlib import Path

import orjson

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import RecordedRequest, entry_of

SUFFIX = ".jsonl"
_BEGINNING = b'{"id"'


def log_so_far(path: Path) -> dict[str, RecordedRequest]:
    """The rows of the log by id; empty if the file does not exist.

    An incomplete last line, and rows that later rows replace, are removed from the file after all of it was read.
    Raises ConfigError, and does not change the file, if it is not a log.
    """
    if path.suffix != SUFFIX:
        raise ConfigError("--out", f"{path}: rows can only be appended to a {SUFFIX} file: use one for --out")
    if not path.exists():
        return {}
    raw = path.read_bytes()
    *lines, last = raw.split(b"\n")
    if last and not _cut_off(last):
        lines.append(last)
    kept: dict[str, bytes] = {}
    entries: dict[str, RecordedRequest] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            entry = _entry(line, f"{path}:{number}")
            kept[entry.id], entries[entry.id] = line, entry
    whole = b"".join(line + b"\n" for line in kept.values())
    if whole != raw:
        _replace(path, whole)
    return entries


def _cut_off(line: bytes) -> bool:
    """Whether a line without an end is the beginning of a row."""
    if not line.startswith(_BEGINNING[: len(line)]):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return True
    return False


def _entry(line: bytes, where: str) -> RecordedRequest:
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(where, f"is not a row of a log, so --out cannot be appended to: {error}") from error
    return entry_of(raw, where)


def _replace(path: Path, content: bytes) -> None:
    """Atomically: an interruption leaves the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
