"""Which of a pool's addresses takes the next request."""

from collections.abc import Mapping, Sequence

from pilotfish.routing.snapshot import Endpoint


def by_load(endpoints: Sequence[Endpoint], in_flight: Mapping[str, int], turn: int) -> list[Endpoint]:
    """The addresses, least requests in flight first; ties go round by `turn`, so that idle addresses share the work."""
    count = len(endpoints)
    if count == 1:
        return list(endpoints)
    return [
        endpoints[index]
        for index in sorted(range(count), key=lambda i: (in_flight.get(endpoints[i].base_url, 0), (i - turn) % count))
    ]
