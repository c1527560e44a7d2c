"""The logistic heads of `logprob` and `combined`, learned from recorded answers."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from pilotfish.base.arrays import Floats
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.learning import FEWEST_EXAMPLES
from pilotfish.plugins.builtin.scorers.heads import LogisticHead


def train_head(names: Sequence[str], signals: Floats, good: Floats) -> LogisticHead:
    """A head over signals [n, s] from 0 to 1. Raises ConfigError where the examples are too few or all alike."""
    if len(signals) < FEWEST_EXAMPLES or np.ptp(good) == 0:
        raise ConfigError(
            "log",
            f"has {len(signals)} answers; the scorer learns from {FEWEST_EXAMPLES} or more, some good and some bad",
        )
    model = LogisticRegression(C=1.0, max_iter=1000).fit(signals, good)
    return LogisticHead(tuple(names), tuple(float(weight) for weight in model.coef_[0]), float(model.intercept_[0]))
