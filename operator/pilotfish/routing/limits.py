"""Limits per minute, as token buckets whose time is given, never read."""

from dataclasses import dataclass
from math import ceil

MINUTE = 60.0

ROUNDING = 1e-6
"""A lack smaller than this comes from the refilling's arithmetic, not from spending."""


@dataclass
class Bucket:
    """Holds a minute's worth at most and refills evenly.

    Spending may take it below zero; then it is closed for a while.
    """

    per_minute: float
    level: float
    at: float

    @classmethod
    def full(cls, per_minute: float, now: float) -> "Bucket":
        """A bucket that nothing was taken from. `now` in seconds, of any clock that only grows."""
        return cls(per_minute, per_minute, now)

    def wait(self, need: float, now: float) -> int:
        """Whole seconds until `need` can be taken; 0: now."""
        self._refill(now)
        missing = min(need, self.per_minute) - self.level
        return 0 if missing <= ROUNDING else max(1, ceil(missing * MINUTE / self.per_minute))

    def spend(self, amount: float, now: float) -> None:
        """Take `amount`, whether it is there or not."""
        self._refill(now)
        self.level -= amount

    def resize(self, per_minute: float, now: float) -> None:
        """Another limit from now on; what was spent stays spent."""
        self._refill(now)
        self.level += per_minute - self.per_minute
        self.per_minute = per_minute

    def _refill(self, now: float) -> None:
        if now > self.at:
            self.level = min(self.per_minute, self.level + (now - self.at) * self.per_minute / MINUTE)
            self.at = now


class RateLimit:
    """A router's requests and tokens per minute."""

    def __init__(self, requests: int | None, tokens: int | None, now: float) -> None:
        self._requests = Bucket.full(requests, now) if requests else None
        self._tokens = Bucket.full(tokens, now) if tokens else None

    def configure(self, requests: int | None, tokens: int | None, now: float) -> None:
        """Take over changed limits."""
        self._requests = _configured(self._requests, requests, now)
        self._tokens = _configured(self._tokens, tokens, now)

    def admit(self, tokens: int, now: float) -> int:
        """0, with one request counted and `tokens` reserved, or the seconds after which to come back.

        A reservation of more than a minute's worth is admitted when nothing else is used.
        """
        wait = max(
            self._requests.wait(1, now) if self._requests else 0,
            self._tokens.wait(max(1, tokens), now) if self._tokens else 0,
        )
        if wait:
            return wait
        if self._requests:
            self._requests.spend(1, now)
        if self._tokens:
            self._tokens.spend(tokens, now)
        return 0

    def settle(self, reserved: int, used: int, now: float) -> None:
        """Count the tokens of a request that has ended in place of those that were reserved for it."""
        if self._tokens:
            self._tokens.spend(used - reserved, now)


def _configured(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket.full(per_minute, now)
    bucket.resize(per_minute, now)
    return bucket
