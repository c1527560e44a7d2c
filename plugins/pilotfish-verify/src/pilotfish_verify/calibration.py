"""Learns the weights of the signals, and the threshold, from labelled sentences.

The labels of a log need no model: they say of a sentence whether its context supports it. Gekhman et al.,
"TrueTeacher: Learning Factual Consistency Evaluation with Large Language Models", EMNLP 2023, shows that a large
model can write them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pilotfish.api.validation import format_path, message_of
from pilotfish.base.arrays import Floats
from pilotfish.base.errors import ConfigError
from pilotfish_verify.config import Weights
from pilotfish_verify.context import passages_of
from pilotfish_verify.judging import ranked_overlap
from pilotfish_verify.overlap import content_words

SIGNALS = ("words", "pairs", "numbers", "yes", "score")
FEWEST_OF_A_LABEL = 20
FOLDS = 5
SEED = 20_261
LARGEST_WEIGHT = 100_000


@dataclass(frozen=True, slots=True)
class Labelled:
    """The signals of a sentence, and whether its context supports it."""

    signals: Mapping[str, float]
    supported: bool


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was learned, and areas under the ROC curve: that of each signal, and that of the regression on sentences
    that it did not learn from.
    """

    weights: Weights
    threshold_permille: int
    auc: float
    signal_aucs: Mapping[str, float]
    missed: float
    """The share of unsupported sentences whose probability is not below the threshold, on held-out sentences."""


class Row(BaseModel):
    """One line of a log: a sentence with its context, or with its signals as in the plugin's notes."""

    label: Literal[0, 1]
    """1: the context supports the sentence."""
    signals: Mapping[Literal["words", "pairs", "numbers", "yes", "score"], FiniteFloat] | None = None
    context: Annotated[str, Field(pattern=r"\S")] | None = None
    sentence: str | None = None

    def labelled(self) -> Labelled:
        """The row with its signals. Raises ValueError where it has neither signals nor context and sentence."""
        if self.signals is not None:
            return Labelled({str(name): value for name, value in self.signals.items()}, bool(self.label))
        if self.context is None or self.sentence is None:
            raise ValueError("has neither signals, nor context and sentence")
        signals, _ = ranked_overlap(passages_of(self.context), content_words(self.sentence))
        return Labelled(signals, bool(self.label))


def read_log(path: Path) -> list[Labelled]:
    """The rows of a JSONL file. Raises ConfigError that names the line."""
    rows = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.strip():
            try:
                rows.append(Row.model_validate_json(line).labelled())
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise ConfigError(f"{path}:{number}", f"{format_path(first['loc'])}: {message_of(first)}") from error
            except ValueError as error:
                raise ConfigError(f"{path}:{number}", str(error)) from error
    return rows


def calibrate(rows: Sequence[Labelled], false_alarms: float = 0.05) -> Calibration:
    """Learn from the rows. At most about the share `false_alarms` of supported sentences is below the threshold.

    Equal rows give equal results. Raises ConfigError with the field "log" for rows with different signals, or with
    fewer than FEWEST_OF_A_LABEL rows of a label.
    """
    names = [name for name in SIGNALS if rows and name in rows[0].signals]
    if any(set(row.signals) != set(names) for row in rows):
        raise ConfigError("log", "some rows have signals that others lack: record all with the same config")
    supported = np.array([row.supported for row in rows], bool)
    fewest = min(int(supported.sum()), int((~supported).sum()))
    if fewest < FEWEST_OF_A_LABEL:
        raise ConfigError("log", f"has {fewest} rows of one label: label at least {FEWEST_OF_A_LABEL} of each")
    values = np.array([[row.signals[name] for name in names] for row in rows])
    # Signals are brought to one scale, because the log-odds of some models vary little, and the penalty is for all.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    held_out = cross_val_predict(model, values, supported, cv=folds, method="predict_proba")[:, 1]
    threshold = float(np.quantile(held_out[supported], false_alarms))
    scaler, regression = (step for _, step in model.fit(values, supported).steps)
    slopes = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_[0] - slopes @ scaler.mean_
    weights = dict(zip(["bias", *names], map(_thousandths, [bias, *slopes]), strict=True))
    absent = {name: 0 for name in SIGNALS if name not in names}
    return Calibration(
        weights=Weights.model_validate({**absent, **weights}),
        threshold_permille=round(1000 * threshold),
        auc=auc(supported, held_out),
        signal_aucs={name: auc(supported, values[:, place]) for place, name in enumerate(names)},
        missed=float(np.mean(1000 * held_out[~supported] >= round(1000 * threshold))),
    )


def auc(supported: Floats, scores: Floats) -> float:
    """The probability that a supported sentence scores higher than one that is not."""
    return float(roc_auc_score(supported, scores))


def _thousandths(weight: float) -> int:
    return max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, round(1000 * weight)))
