"""A log that a recording goes on with. Rows are appended; of two rows of one request the later one counts."""

from pathlib import Path

import orjson

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import Entry, entry_of

SUFFIX = ".jsonl"
_BEGINNING = b'{"id"'


def log_so_far(path: Path) -> dict[str, Entry]:
    """What the log holds by id; none where it does not exist.

    A last line that was cut off, and rows that later ones replace, are taken out of the file once all of it was read.
    Raises ConfigError, and leaves the file as it is, where it is no log that rows can be appended to.
    """
    if path.suffix != SUFFIX:
        raise ConfigError("--out", f"{path}: rows are appended to a {SUFFIX} file: name one")
    if not path.exists():
        return {}
    raw = path.read_bytes()
    *lines, last = raw.split(b"\n")
    if last and not _cut_off(last):
        lines.append(last)
    kept: dict[str, bytes] = {}
    entries: dict[str, Entry] = {}
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


def _entry(line: bytes, where: str) -> Entry:
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(where, f"is no row of a log, which --out is to be appended to: {error}") from error
    return entry_of(raw, where)


def _replace(path: Path, content: bytes) -> None:
    """In one step: whoever is cut off here leaves the old file or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.replace(path)
