"""Ray itself, without an engine."""

import os

import psutil

from pilotfish.engine import ray_head
from pilotfish.engine.processes import in_session
from pilotfish.engine.ray_head import RayHead


async def test_a_start_that_hangs_is_given_up_and_the_next_one_is_whole(monkeypatch):
    # No Ray answers within the first attempt's time, as none does that hangs.
    monkeypatch.setattr(ray_head, "ATTEMPT_SECONDS", (0.5, 300.0))
    head = RayHead(os.environ)
    given_up = []
    launch = head._launch

    async def watched(http):
        given_up.append((head.pid, head.ports))
        return await launch(http)

    monkeypatch.setattr(head, "_launch", watched)
    try:
        await head.start()
        assert await head.applications() == {}
        (_, first_ports), (first_guardian, _) = given_up
        assert head.pid != first_guardian
        assert head.ports != first_ports
        assert not psutil.pid_exists(first_guardian)
        assert not in_session(first_guardian)
    finally:
        await head.stop()
    assert not head.folder.exists()
