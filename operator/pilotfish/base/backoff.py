"""The delay between tries of something that fails."""

_MOST_DOUBLINGS = 30
"""Python cannot convert a power of two above 1023 to a float."""


def backoff_seconds(failures: int, *, first: float, most: float) -> float:
    """Seconds before the next try after `failures` in a row: `first`, doubled after each further one, up to `most`."""
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), most)
