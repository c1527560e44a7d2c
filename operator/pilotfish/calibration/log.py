"""Logs of requests: JSONL (also gzipped) or Parquet, one row a request. docs/log-schema.md describes every field."""

import gzip
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pilotfish.api.validation import format_path, message_of
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.scorers import Question, TokenLogprobs


def _impossible(value: object) -> object:
    return -math.inf if value is None else value


Logprob = Annotated[float, BeforeValidator(_impossible)]
"""JSON has no infinity, so null is an impossible token."""


class Row(BaseModel):
    """Unknown fields are kept, because another program may have written them."""

    model_config = ConfigDict(extra="allow", frozen=True)


class RecordedStage(Row):
    """What one pool answered.

    `scores`: permille by scorer name, what asking that scorer cost and how long it took, and a digest of its config;
    `quality` 0 to 1; costs in the log's one currency.
    """

    pool: Annotated[str, Field(min_length=1)]
    answer: str | None = None
    logprobs: tuple[Logprob, ...] | None = None
    top_logprobs: tuple[tuple[Logprob, ...], ...] | None = None
    scores: dict[str, Annotated[int, Field(ge=0, le=1000)]] = {}
    score_costs: dict[str, float] = {}
    score_seconds: dict[str, float] = {}
    score_configs: dict[str, str] = {}
    quality: Annotated[float, Field(ge=0, le=1)] | None = None
    cost: Annotated[float, Field(ge=0)] | None = None
    seconds: Annotated[float, Field(ge=0)] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    def tokens(self, most: int | None = None) -> tuple[TokenLogprobs, ...]:
        """The answer's first `most` tokens (None: all) as scorers take them."""
        logprobs = (self.logprobs or ())[:most]
        tops = self.top_logprobs or ((),) * len(logprobs)
        return tuple(TokenLogprobs(logprob, top) for logprob, top in zip(logprobs, tops, strict=False))


class RecordedRequest(Row):
    """One request. `action` is the pool whose answer was given, `propensity` the chance with which that was so.

    `plugins` is a digest of the plugins through which it went, None for none.
    """

    id: str
    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] | None = None
    vector: tuple[float, ...] | None = None
    category: str | None = None
    stages: Annotated[tuple[RecordedStage, ...], Field(min_length=1)]
    action: str | None = None
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    plugins: str | None = None

    @property
    def question(self) -> Question:
        """What was asked, as scorers take it."""
        return Question(self.messages or ({"role": "user", "content": self.prompt or ""},))

    def stage(self, pool: str) -> RecordedStage | None:
        """What the pool answered, if it was asked."""
        return next((stage for stage in self.stages if stage.pool == pool), None)


def read_log(path: Path) -> list[RecordedRequest]:
    """Every row of a log. Raises ConfigError with the row's number for one that does not fit, or a file that cannot
    be read.
    """
    entries: dict[str, RecordedRequest] = {}
    lines: dict[str, int] = {}
    for number, raw in _rows(path):
        entry = entry_of(raw, f"{path}:{number}")
        if entry.id in entries:
            twice = f"request {entry.id!r} is in lines {lines[entry.id]} and {number}"
            fix = "ids are unique: remove one, or run `pilotfish record` on it again, which keeps the later one"
            raise ConfigError(str(path), f"{twice}; {fix}")
        entries[entry.id], lines[entry.id] = entry, number
    if not entries:
        raise ConfigError(str(path), "has no request: record some with `pilotfish record`")
    return list(entries.values())


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
            return
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(
            str(path), f"line {number} is not JSON: {error}; a log has one JSON object in each line"
        ) from error
    except (OSError, EOFError) as error:
        raise ConfigError(str(path), f"cannot be read: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, object]]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - large, and needed for this format alone
    except ModuleNotFoundError as error:
        text = f"Parquet needs an additional package: run pip install 'pilotfish[calibrate]', or write .jsonl ({error})"
        raise ConfigError(str(path), text) from error
    try:
        yield from enumerate(parquet.read_table(path).to_pylist(), 1)
    except ArrowInvalid as error:
        raise ConfigError(str(path), f"is not a Parquet file: {error}") from error


def entry_of(raw: object, where: str) -> RecordedRequest:
    """A row as it was read. Raises ConfigError that names the field."""
    if isinstance(raw, Mapping):
        # Parquet writes what is absent as null, in every row.
        raw = _without_nulls(raw)
    try:
        return RecordedRequest.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(where, f"{format_path(first['loc'])}: {message_of(first)}") from error


def _without_nulls(value: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: entry for name, entry in value.items() if entry is not None}
    if isinstance(kept.get("stages"), list):
        kept["stages"] = [_without_nulls(stage) if isinstance(stage, Mapping) else stage for stage in kept["stages"]]
    for name in ("scores", "score_costs", "score_seconds", "score_configs"):
        if isinstance(kept.get(name), Mapping):
            kept[name] = _without_nulls(kept[name])
    return kept


def write_jsonl(path: Path, entries: Iterable[RecordedRequest]) -> None:
    """Write a log; what is not known is left out."""
    with path.open("wb") as file:
        for entry in entries:
            file.write(line_of(entry))


def line_of(entry: RecordedRequest) -> bytes:
    """The entry as one line of JSON."""
    return orjson.dumps(entry.model_dump(exclude_none=True, exclude_defaults=True), option=orjson.OPT_APPEND_NEWLINE)
