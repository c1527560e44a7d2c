"""The Lease, against one that is kept in memory and takes its time by a clock that the test moves."""

import pytest

from pilotfish.kube.errors import Unavailable
from pilotfish.kube.lease import Lease, LeaseLost, LeaseTiming

TIMING = LeaseTiming(duration=8, renew_deadline=6.0, retry=0.0)


class SlowServer:
    """Takes a write, and responds `answer_seconds` later; from write `broken_from` on it takes none."""

    def __init__(self, answer_seconds: float, broken_from: int) -> None:
        self.now = 0.0
        self.written: list[float] = []
        self._lease = None
        self._answer_seconds, self._broken_from = answer_seconds, broken_from

    def clock(self):
        return self.now

    async def find(self, *_):
        return self._lease

    async def create(self, _, manifest):
        self._write(manifest)

    async def replace(self, _, manifest):
        self._write(manifest)

    def _write(self, manifest):
        begun, self.now = self.now, self.now + self._answer_seconds
        if len(self.written) >= self._broken_from:
            raise Unavailable("PUT: no answer")
        self.written.append(begun)
        self._lease = manifest


@pytest.mark.parametrize("writes", [1, 2])
async def test_who_cannot_renew_stops_before_the_lease_that_others_saw_ends(writes):
    server = SlowServer(answer_seconds=2.5, broken_from=writes)
    lease = Lease(server, namespace="n", name="l", identity="one", clock=server.clock, timing=TIMING)
    await lease.acquire()
    with pytest.raises(LeaseLost):
        await lease.hold()
    assert server.now - server.written[-1] < TIMING.duration
