"""When do two answers have the same meaning? Normal forms of answers, and clusters of their vectors."""

import re
import string
import unicodedata
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_CHOICE = re.compile(r"\b([A-J])\b")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, " "))


class Compare(StrEnum):
    """The part of an answer that is compared: all of it, its last number, its last line, or its choice (A to J)."""

    TEXT = "text"
    NUMBER = "number"
    LINE = "line"
    CHOICE = "choice"


def normal_form(text: str, compare: Compare) -> str:
    """Equal for answers that say the same; empty where there is nothing to compare.

    Numbers lose separators and trailing zeros; words lose case, accents' encoding, punctuation and articles.
    """
    if compare is Compare.NUMBER:
        numbers = _NUMBER.findall(text)
        return _plain_number(numbers[-1]) if numbers else ""
    if compare is Compare.CHOICE:
        choices = _CHOICE.findall(text)
        return choices[-1] if choices else ""
    if compare is Compare.LINE:
        lines = [line for line in text.splitlines() if line.strip()]
        text = lines[-1] if lines else ""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", folded).split())


def _plain_number(written: str) -> str:
    whole, _, fraction = written.replace(",", "").lstrip("+").partition(".")
    fraction = fraction.rstrip("0")
    sign = "-" if whole.startswith("-") else ""
    digits = whole.lstrip("-").lstrip("0") or "0"
    if digits == "0" and not fraction:
        return "0"
    return sign + digits + ("." + fraction if fraction else "")


def clusters_of_forms(forms: Sequence[str]) -> list[int]:
    """A cluster's number for each form: equal forms share one, an empty form is alone."""
    seen: dict[str, int] = {}
    return [seen.setdefault(form or f"\0{place}", len(seen)) for place, form in enumerate(forms)]


def clusters_of_vectors(vectors: Sequence[Sequence[float]], least_cosine: float) -> list[int]:
    """A cluster's number for each vector: it joins the first cluster whose first member is as near as
    `least_cosine`.
    """
    matrix = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix = matrix / np.where(lengths > 0, lengths, 1.0)
    firsts: list[int] = []
    numbers: list[int] = []
    for place, vector in enumerate(matrix):
        near = (number for number, first in enumerate(firsts) if float(matrix[first] @ vector) >= least_cosine)
        number = next(near, len(firsts))
        if number == len(firsts):
            firsts.append(place)
        numbers.append(number)
    return numbers
