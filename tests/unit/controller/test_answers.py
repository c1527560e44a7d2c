"""One answer is asked of each Ray that requests go to, and none after that."""

import pytest
from resource_builders import a_pod, a_pool

from pilotfish.base.errors import NoAnswer, RuntimeFailure
from pilotfish.base.keys import Key
from pilotfish.controller.answers import Answers
from pilotfish.reconcile.outcome import Proof


class Server:
    """Records who was asked; answers unless it has a fault."""

    def __init__(self, fault=None):
        self.asked, self.fault = [], fault

    async def __call__(self, base_url, *, task, model):
        self.asked.append(base_url)
        if self.fault:
            raise self.fault


def worker(ray, address, *, ready=True):
    pod = a_pod(f"{ray}-worker", ready=ready)
    pod["metadata"]["labels"] |= {"ray.io/node-type": "worker", "ray.io/cluster": ray}
    pod["status"]["podIP"] = address
    return pod


def children(ray):
    child = {"metadata": {}, "status": {"activeServiceStatus": {"rayClusterName": ray}}}
    return {Key("RayService", "team", "small-pool"): child}


async def test_each_ray_is_asked_once_at_a_worker_of_its_own():
    server = Server()
    answers = Answers(server)
    pods = (worker("old", "10.0.0.1"), worker("new", "fd00::2"))
    for ray in ("old", "old", "new", "new"):
        assert await answers.check(a_pool(), children(ray), pods) == Proof(answered=True)
    assert server.asked == ["http://10.0.0.1:8000/v1", "http://[fd00::2]:8000/v1"]


async def test_a_ray_that_does_not_answer_is_asked_again_and_quoted():
    server = Server()
    answers = Answers(server)
    server.fault = RuntimeFailure("answered 500")
    seen = children("one"), (worker("one", "10.0.0.1"),)
    assert await answers.check(a_pool(), *seen) == Proof(answered=False, message="answered 500")
    server.fault = None
    assert await answers.check(a_pool(), *seen) == Proof(answered=True)


async def test_nobody_is_asked_before_a_worker_is_ready_and_a_loss_of_all_is_noticed():
    server = Server()
    answers = Answers(server)
    up, down = (worker("one", "10.0.0.1"),), (worker("one", "10.0.0.1", ready=False),)
    assert await answers.check(a_pool(), children("one"), down) == Proof(answered=False)
    assert server.asked == []
    for pods in (up, down, up):
        await answers.check(a_pool(), children("one"), pods)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("proven", "fault", "answered"),
    [
        ("one", NoAnswer("late"), True),
        ("one", RuntimeFailure("answered 500"), False),
        ("before", NoAnswer("late"), False),
        (None, NoAnswer("late"), False),
    ],
)
async def test_a_new_operator_takes_an_answer_back_for_an_error_alone(proven, fault, answered):
    pool = a_pool(status={"rayCluster": proven} if proven else {"conditions": []})
    seen = children("one"), (worker("one", "10.0.0.1"),)
    assert await Answers(Server(fault)).check(pool, *seen) == Proof(answered=answered, message=str(fault))
