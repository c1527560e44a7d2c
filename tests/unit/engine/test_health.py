"""The state of a pool from Serve's messages."""

import pytest

from pilotfish.engine.health import Verdict, judge
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
        (None, Verdict.STARTING, False),
        (Application("a", "DEPLOYING", "", {}), Verdict.STARTING, False),
        (application("DEPLOYING", states=["STARTING"]), Verdict.STARTING, False),
        (application("DEPLOYING", states=["RUNNING"]), Verdict.STARTING, False),
        (application("RUNNING", "HEALTHY", states=["RUNNING"]), Verdict.RUNNING, False),
        (application("DEPLOYING", message=FAILED_ONCE, states=["STARTING"]), Verdict.BROKEN, False),
        # The replica of before, which an edit made obsolete, is no failure of the new one.
        (application("DEPLOYING", states=["STARTING"], dead=1), Verdict.STARTING, False),
        (application("UNHEALTHY", "UNHEALTHY"), Verdict.BROKEN, False),
        (application("DEPLOY_FAILED", "UNHEALTHY", "why"), Verdict.BROKEN, True),
        (Application("a", "DEPLOY_FAILED", "no builder", {}), Verdict.BROKEN, True),
    ],
)
def test_verdicts(seen, verdict, final):
    judgement = judge(seen, ENGINE)
    assert (judgement.verdict, judgement.final) == (verdict, final)


def test_a_broken_engine_names_those_whose_logs_may_tell():
    judgement = judge(application("DEPLOYING", message=FAILED_ONCE, states=["STARTING"], dead=1), ENGINE)
    assert [replica.pid for replica in judgement.replicas] == [20, 10]
