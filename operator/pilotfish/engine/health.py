"""The state of a pool from Serve's state of its application. Pure, so that its tests are a table."""

from dataclasses import dataclass
from enum import StrEnum

from pilotfish.upstream.ray_serve import Application, Deployment, Replica


class EngineHealth(StrEnum):
    """The state of an application's engine."""

    STARTING = "starting"
    RUNNING = "running"
    BROKEN = "broken"


@dataclass(frozen=True)
class Judgement:
    """The state of an engine; for a failed one Serve's message and the replicas whose logs have details."""

    verdict: EngineHealth
    message: str = ""
    replicas: tuple[Replica, ...] = ()
    final: bool = False
    """Serve does not try again."""
    running: int = 0
    """Replicas that run, those of an application that is being changed included."""


def judge(application: Application | None, engine: str) -> Judgement:
    """The state of an application, from the deployment of its engine. None: Serve does not know it yet."""
    if application is None:
        return Judgement(EngineHealth.STARTING)
    deployment = application.deployments.get(engine)
    if application.status == "DEPLOY_FAILED":
        message = deployment.message if deployment and deployment.message else application.message
        return Judgement(EngineHealth.BROKEN, message, _suspects(deployment), final=True)
    if deployment is None:
        return Judgement(EngineHealth.STARTING)
    if deployment.status == "UNHEALTHY" or _has_failed_once(deployment):
        return Judgement(EngineHealth.BROKEN, deployment.message, _suspects(deployment))
    if deployment.running and application.status == "RUNNING":
        return Judgement(EngineHealth.RUNNING, running=deployment.running)
    return Judgement(EngineHealth.STARTING, deployment.message, running=deployment.running)


def _has_failed_once(deployment: Deployment) -> bool:
    return not deployment.running and "failed to start" in deployment.message


def _suspects(deployment: Deployment | None) -> tuple[Replica, ...]:
    if deployment is None:
        return ()
    return tuple(replica for replica in (*deployment.dead, *deployment.replicas) if replica.pid)
