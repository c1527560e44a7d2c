"""Stopping boundaries: at which prefix scores a stage's outcome is certain enough to decide before its answer's end.

They are learned for one threshold by `pilotfish.calibration.statistics.stopping`, which says how; here they are only
applied.
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
        """Token counts at which something may be decided."""
        return frozenset(tokens for tokens, _, _ in self.rows)

    def verdict(self, *, tokens: int, score: int, threshold: int) -> bool | None:
        """True: accept now. False: reject now. None: go on. Always None for another threshold than theirs.

        Called at a row's own token counts only: between two rows nothing was calibrated, so nothing is decided.
        """
        if threshold != self.threshold:
            return None
        for at, reject_below, accept_from in self.rows:
            if at == tokens:
                return False if score < reject_below else True if score >= accept_from else None
        return None

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Read `boundaries` [n, 3] and `boundaries_threshold`. Raises ConfigError where they do not fit."""
        rows, threshold = arrays["boundaries"], arrays.get("boundaries_threshold")
        if threshold is None or rows.ndim != 2 or rows.shape[1] != 3:
            raise ConfigError(
                "artifact", "its stopping boundaries are not rows of three with a threshold: calibrate again"
            )
        found = tuple((int(tokens), int(reject), int(accept)) for tokens, reject, accept in rows)
        if any(reject > accept for _, reject, accept in found) or sorted(found) != list(found):
            raise ConfigError("artifact", "its stopping boundaries cross or are out of order: calibrate again")
        return cls(int(threshold), found)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that `from_arrays` reads."""
        rows = np.array(self.rows, np.int64).reshape(-1, 3)
        return {"boundaries": rows, "boundaries_threshold": np.array(self.threshold)}


def boundaries_of(scorer: object) -> Boundaries | None:
    """The stopping boundaries that a scorer's artifact brought, if it did."""
    found = getattr(scorer, "boundaries", None)
    return found if isinstance(found, Boundaries) else None
