"""Why an engine failed, while its logs are removed."""

from pathlib import Path

import pytest

from pilotfish.engine.reasons import explain
from pilotfish.upstream.ray_serve import Replica

REPLICA = (Replica("r", "STARTING", 1, "abc"),)


async def test_logs_that_cannot_be_opened_are_left_out(tmp_path: Path) -> None:
    # a link to a file that is gone is listed, as a file is that goes between the listing and the reading
    (tmp_path / "worker-abc-1.err").symlink_to(tmp_path / "gone")
    (tmp_path / "worker-abc-1.out").write_text("ValueError: bad argument\n")
    failure = await explain(tmp_path, "The deployment failed to start.", REPLICA)
    assert "worker-abc-1.out" in failure.details
    assert "worker-abc-1.err" not in failure.details


@pytest.mark.parametrize("replicas", [REPLICA, ()])
async def test_a_folder_that_is_gone_leaves_the_message_of_serve(tmp_path: Path, replicas: tuple[Replica, ...]) -> None:
    failure = await explain(tmp_path / "gone", "The deployment failed to start.", replicas)
    assert (failure.details, failure.transient) == ("The deployment failed to start.", True)
