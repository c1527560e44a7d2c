"""The state of a pool from Serve's messages."""

import pytest

from pilotfish.engine.health import EngineHealth, judge
from pilotfish.upstream.ray_serve import Application, Deployment, Replica

ENGINE = "PoolServer:small"
FAILED_ONCE = "The deployment failed to start 1 times in a row. Retrying 2 more time(s)."


def application(status, deployment_status="UPDATING", message="", states=(), dead=0):
    replicas = tuple(Replica(str(number), state, 10 + number, "w") for number, state in enumerate(states))
    gone = tuple(Replica(f"d{number}", "STOPPED", 20 + number, "w") for number in range(dead))
    return Application("a", status, "words", {ENGINE: Deployment(ENGINE, deployment_status, message, replicas, gone)})


@pytest.mark.parametrize(
    ("seen", "verdict", "final"),
    [
        (None, EngineHealth.STARTING, False),
        (Application("a", "DEPLOYING", "", {}), EngineHealth.STARTING, False),
        (application("DEPLOYING", states=["STARTING"]), EngineHealth.STARTING, False),
        (application("DEPLOYING", states=["RUNNING"]), EngineHealth.STARTING, False),
        (application("RUNNING", "HEALTHY", states=["RUNNING"]), EngineHealth.RUNNING, False),
        (application("DEPLOYING", message=FAILED_ONCE, states=["STARTING"]), EngineHealth.BROKEN, False),
        # The replica of before, which an edit made obsolete, is no failure of the new one.
        (application("DEPLOYING", states=["STARTING"], dead=1), EngineHealth.STARTING, False),
        (application("UNHEALTHY", "UNHEALTHY"), EngineHealth.BROKEN, False),
        (application("DEPLOY_FAILED", "UNHEALTHY", "why"), EngineHealth.BROKEN, True),
        (Application("a", "DEPLOY_FAILED", "no builder", {}), EngineHealth.BROKEN, True),
    ],
)
def test_verdicts(seen, verdict, final):
    judgement = judge(seen, ENGINE)
    assert (judgement.verdict, judgement.final) == (verdict, final)


def test_a_broken_engine_names_those_whose_logs_may_tell():
    judgement = judge(application("DEPLOYING", message=FAILED_ONCE, states=["STARTING"], dead=1), ENGINE)
    assert [replica.pid for replica in judgement.replicas] == [20, 10]
