"""Stopping boundaries: scores of a prefix at which a stage is decided before the end of its answer.

`pilotfish.calibration.statistics.stopping` learns them for one threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pilotfish.base.errors import ConfigError


@dataclass(frozen=True)
class Boundaries:
    """Rows of (tokens, reject below, accept from), tokens ascending.

    Scores are permille; rejecting below 0 or accepting from 1001 never happens. They hold for a router's `threshold`
    and no other.
    """

    threshold: int
    rows: tuple[tuple[int, int, int], ...]

    @cached_property
    def looks(self) -> frozenset[int]:
        """The token counts of the rows: only at these is a decision possible."""
        return frozenset(tokens for tokens, _, _ in self.rows)

    def verdict(self, *, tokens: int, score: int, threshold: int) -> bool | None:
        """True: accept now. False: reject now. None: continue, always so for another threshold than theirs.

        Only the token counts of rows were calibrated: at all others the result is None.
        """
        if threshold != self.threshold:
            return None
        for at, reject_below, accept_from in self.rows:
            if at == tokens:
                return False if score < reject_below else True if score >= accept_from else None
        return None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read `boundaries` [n, 3] and `boundaries_threshold`. Raises ConfigError for wrong shapes or crossed rows."""
        rows, threshold = arrays["boundaries"], arrays.get("boundaries_threshold")
        if threshold is None or rows.ndim != 2 or rows.shape[1] != 3:
            raise ConfigError(
                "artifact", "the stopping boundaries are not rows of three with a threshold: calibrate again"
            )
        found = tuple((int(tokens), int(reject), int(accept)) for tokens, reject, accept in rows)
        if any(reject > accept for _, reject, accept in found) or sorted(found) != list(found):
            raise ConfigError("artifact", "the stopping boundaries cross or are out of order: calibrate again")
        return cls(int(threshold), found)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` reads."""
        rows = np.array(self.rows, np.int64).reshape(-1, 3)
        return {"boundaries": rows, "boundaries_threshold": np.array(self.threshold)}


def boundaries_of(scorer: object) -> Boundaries | None:
    """The stopping boundaries from a scorer's artifact, None if it has none."""
    found = getattr(scorer, "boundaries", None)
    return found if isinstance(found, Boundaries) else None
