"""Rows of the documents: demonstrations, recorded requests, and trials from which usefulness is learned."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pilotfish.api.validation import format_path, message_of
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.messages import last_user_text
from pilotfish.plugin_api.preparing import Document, Documents

SHRINKAGE = 2.0
"""Trials without effect that every demonstration is taken to have had, so that one lucky trial counts little."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Demonstration(_Row):
    """A question and a good answer to it."""

    input: Annotated[str, Field(min_length=1)]
    output: Annotated[str, Field(min_length=1)]

    @property
    def id(self) -> str:
        """What trials and an answer's notes call it."""
        return demonstration_id(self.input, self.output)


class Trial(_Row):
    """How good an answer was, 0 to 1, to `input` after these demonstrations, named by id. None: without any."""

    input: Annotated[str, Field(min_length=1)]
    demonstrations: tuple[str, ...]
    quality: Annotated[float, Field(ge=0, le=1)]


class _Stage(_Row):
    answer: str | None = None
    quality: float | None = None


class _Recorded(_Row):
    """A row of Pilotfish's request log. The first answer of quality 1 makes a demonstration of it."""

    prompt: str | None = None
    messages: tuple[Mapping[str, Any], ...] = ()
    stages: tuple[_Stage, ...]

    def demonstration(self) -> Demonstration | None:
        messages = self.messages or ({"role": "user", "content": self.prompt},)
        good = next((stage.answer for stage in self.stages if stage.quality == 1 and stage.answer), None)
        question = last_user_text(messages)
        return Demonstration(input=question, output=good) if question and good else None


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of the documents; demonstrations without repetitions."""

    demonstrations: tuple[Demonstration, ...]
    trials: tuple[Trial, ...]


def demonstration_id(question: str, answer: str) -> str:
    """The id of a demonstration: a digest of both strings."""
    return hashlib.sha256(orjson.dumps([question, answer])).hexdigest()[:16]


def read_rows(documents: Documents) -> Rows:
    """The rows of all documents. Raises ConfigError that names source, document and line of a row that is neither a
    demonstration nor a recorded request nor a trial, and for documents without a demonstration.
    """
    demonstrations: dict[str, Demonstration] = {}
    trials: list[Trial] = []
    for document in documents:
        for row in _rows(document, documents.read(document)):
            demonstration = row.demonstration() if isinstance(row, _Recorded) else row
            if isinstance(demonstration, Trial):
                trials.append(demonstration)
            elif demonstration:
                demonstrations[demonstration.id] = demonstration
    if not demonstrations:
        raise ConfigError("sources", "have no demonstration: add rows with `input` and `output`")
    return Rows(tuple(demonstrations.values()), tuple(trials))


def _rows(document: Document, content: bytes) -> Iterator[Demonstration | Trial | _Recorded]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{document.path} line {number}"
        try:
            row = orjson.loads(line)
            yield _kind(row).model_validate(row)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"sources.{document.source}", f"{where} is not JSON: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            reason = f"{where}: {format_path(first['loc'])}: {message_of(first)}"
            raise ConfigError(f"sources.{document.source}", reason) from error


def _kind(row: object) -> type[Demonstration | Trial | _Recorded]:
    if isinstance(row, Mapping) and "stages" in row:
        return _Recorded
    return Trial if isinstance(row, Mapping) and "demonstrations" in row else Demonstration


def usefulness(trials: Iterable[Trial]) -> dict[str, float]:
    """By demonstration, the mean change of an answer's quality, from -1 to 1, shrunk towards 0.

    A change is measured against the mean quality of the same question without demonstrations, where a trial has that,
    else against the mean of all trials without demonstrations, or with them if there are no others. The
    demonstrations of one trial share its change.
    """
    shown = [trial for trial in trials if trial.demonstrations]
    alone: dict[str, list[float]] = defaultdict(list)
    for trial in trials:
        if not trial.demonstrations:
            alone[trial.input].append(trial.quality)
    everywhere = _mean([quality for found in alone.values() for quality in found] or [each.quality for each in shown])
    change: dict[str, float] = defaultdict(float)
    weight: dict[str, float] = defaultdict(float)
    for trial in shown:
        base = _mean(alone[trial.input]) if trial.input in alone else everywhere
        share = 1 / len(trial.demonstrations)
        for each in trial.demonstrations:
            change[each] += share * (trial.quality - base)
            weight[each] += share
    return {each: total / (weight[each] + SHRINKAGE) for each, total in change.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
