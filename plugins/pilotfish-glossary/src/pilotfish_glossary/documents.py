"""Entries in documents: CSV, YAML, and the tables of Markdown."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml
from markdown_it import MarkdownIt
from pydantic import ValidationError

from pilotfish.api.common import Model
from pilotfish.api.validation import message_of
from pilotfish.base.errors import ConfigError
from pilotfish_glossary.entries import Entry, Name

SUFFIXES = frozenset({".csv", ".yaml", ".yml", ".md", ".markdown"})


class Columns(Model):
    """The headings of a table's columns. Case does not matter."""

    term: Name = "term"
    """The column of the preferred name. A table of Markdown without it is not part of the glossary."""
    definition: Name = "definition"
    """The column of the definition."""
    aliases: Name = "aliases"
    """The column of other names, separated by semicolons. A table may lack it."""
    case: Name = "case"
    """The column of `Auto`, `Exact` or `Ignore`. A table may lack it."""


def read_entries(path: str, content: bytes, columns: Columns) -> list[Entry]:
    """The entries of a document with one of SUFFIXES.

    Raises ConfigError with the document's path, and the place in it, for content that is not valid.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(path, f"is not UTF-8: {error.reason} at byte {error.start}") from error
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".csv":
        return list(_csv_entries(path, text, columns))
    if suffix in {".yaml", ".yml"}:
        return list(_yaml_entries(path, text))
    return list(_markdown_entries(path, text, columns))


def _csv_entries(path: str, text: str, columns: Columns) -> Iterator[Entry]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        heading = next(rows, [])
        for row in rows:
            if any(cell.strip() for cell in row):
                yield _row_entry(f"{path}: line {rows.line_num}", heading, row, columns)
    except csv.Error as error:
        raise ConfigError(f"{path}: line {rows.line_num}", f"is not valid CSV: {error}") from error


def _yaml_entries(path: str, text: str) -> Iterator[Entry]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(path, f"is not valid YAML: {error}") from error
    if isinstance(content, Mapping):
        content = [{"term": term, "definition": definition} for term, definition in content.items()]
    if not isinstance(content, list):
        raise ConfigError(path, "must be a list of entries, or a mapping from terms to definitions")
    for place, item in enumerate(content):
        yield _entry(f"{path}: entry {place + 1}", item)


def _markdown_entries(path: str, text: str, columns: Columns) -> Iterator[Entry]:
    """The rows of the tables that have a column for terms."""
    heading: list[str] = []
    row: list[str] = []
    line = 0
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            heading = []
        elif token.type == "tr_open":
            row, line = [], (token.map or [0])[0] + 1
        elif token.type == "inline":
            row.append("".join(child.content for child in token.children or ()))
        elif token.type == "tr_close" and not heading:
            heading = row
        elif token.type == "tr_close" and columns.term.casefold() in map(str.casefold, heading):
            yield _row_entry(f"{path}: line {line}", heading, row, columns)


def _row_entry(where: str, heading: Sequence[str], row: Sequence[str], columns: Columns) -> Entry:
    cells = {name.strip().casefold(): cell.strip() for name, cell in zip(heading, row, strict=False)}
    found = {field: cells.get(name.casefold(), "") for field, name in columns.model_dump().items()}
    missing = [columns.model_dump()[field] for field in ("term", "definition") if not found[field]]
    if missing:
        raise ConfigError(where, f"has no {' and no '.join(map(repr, missing))}: set config.columns, or complete it")
    aliases = [alias.strip() for alias in found.pop("aliases").split(";") if alias.strip()]
    return _entry(where, {**{name: cell for name, cell in found.items() if cell}, "aliases": aliases})


def _entry(where: str, value: Any) -> Entry:
    try:
        return Entry.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise ConfigError(where, f"{field}: {message_of(first)}" if field else message_of(first)) from error
