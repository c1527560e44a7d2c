"""Answers of pooling models, checked where they enter: one result for each string that was sent, in order.

Every function raises BadUpstream for an answer of another shape, or with another number of results than `count`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pilotfish.base.errors import BadUpstream

T = TypeVar("T")


def vectors(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors of an answer of /embeddings."""
    return _results(answer, count, lambda row: _numbers(row["embedding"]))


def scores(answer: Mapping[str, Any], count: int) -> list[float]:
    """The scores of an answer of /score."""
    return _results(answer, count, lambda row: float(row["score"]))


def probabilities(answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The probabilities of the labels of an answer of /classify."""
    return _results(answer, count, lambda row: _numbers(row["probs"]))


def _numbers(values: list[Any]) -> list[float]:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return [float(value) for value in values]


def _results(answer: Mapping[str, Any], count: int, read: Callable[[Mapping[str, Any]], T]) -> list[T]:
    try:
        results = [read(row) for row in sorted(answer.get("data") or (), key=lambda row: int(row["index"]))]
    except (KeyError, TypeError, ValueError) as error:
        raise BadUpstream("the model server returned results that cannot be read") from error
    if len(results) != count:
        raise BadUpstream(f"the model server returned {len(results)} results for {count} strings")
    return results
