"""What Serve's words about an application mean for its pool. Pure, so that its tests are a table."""

from dataclasses import dataclass
from enum import StrEnum

from pilotfish.upstream.ray_serve import Application, Deployment, Replica


class Verdict(StrEnum):
    """How an application's engine is."""

    STARTING = "starting"
    RUNNING = "running"
    BROKEN = "broken"


@dataclass(frozen=True)
class Judgement:
    """A verdict; for a broken engine Serve's message and the replicas whose logs may tell more."""

    verdict: Verdict
    message: str = ""
    replicas: tuple[Replica, ...] = ()
    final: bool = False
    """Serve has given up and tries no more."""
    running: int = 0
    """Replicas that run, those of an application that is being changed included."""


def judge(application: Application | None, engine: str) -> Judgement:
    """Judge an application by the deployment that holds its engine. None: Serve does not know it yet."""
    if application is None:
        return Judgement(Verdict.STARTING)
    deployment = application.deployments.get(engine)
    if application.status == "DEPLOY_FAILED":
        message = deployment.message if deployment and deployment.message else application.message
        return Judgement(Verdict.BROKEN, message, _suspects(deployment), final=True)
    if deployment is None:
        return Judgement(Verdict.STARTING)
    if deployment.status == "UNHEALTHY" or _has_failed_once(deployment):
        return Judgement(Verdict.BROKEN, deployment.message, _suspects(deployment))
    if deployment.running and application.status == "RUNNING":
        return Judgement(Verdict.RUNNING, running=deployment.running)
    return Judgement(Verdict.STARTING, deployment.message, running=deployment.running)


def _has_failed_once(deployment: Deployment) -> bool:
    return not deployment.running and "failed to start" in deployment.message


def _suspects(deployment: Deployment | None) -> tuple[Replica, ...]:
    if deployment is None:
        return ()
    return tuple(replica for replica in (*deployment.dead, *deployment.replicas) if replica.pid)
