"""Bad things that must not hurt the operator: a proxy between it and the API server does them."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from controlplane import Api, ControlPlane
from operator_cases import CHILDREN, a_pool, child, condition, settled, there, wait_settled
from operatorprocess import PASS, Account, Gate, OperatorProcess, Verdict, proxy
from operatorprocess.proxy import WRITES


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def operator(control_plane: ControlPlane, account: Account, gate: Gate, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Behind the gate, not started yet."""
    with proxy(control_plane.url, str(control_plane.certificate), gate) as url:
        kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
        content = yaml.safe_load(kubeconfig.read_text())
        content["clusters"][0]["cluster"] = {"server": url}
        kubeconfig.write_text(yaml.safe_dump(content))
        process = OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log")
        try:
            yield process
        finally:
            if process.running:
                process.kill()


def is_write_in(request: web.Request, namespace: str) -> bool:
    return request.method in WRITES and f"/namespaces/{namespace}/" in request.path


@contextmanager
def supervised(api: Api, operator: OperatorProcess) -> Iterator[None]:
    """Start the operator, and at the end check that it lives and met nothing that it did not expect."""
    operator.start()
    yield
    assert operator.running, operator.words
    assert "unexpected" not in operator.words, operator.words


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.timeout(300)
def test_killed_at_any_write_it_completes_what_it_began(api, gate, operator, when):
    """Kill at the first write, at the second and so on, until a run needs no more writes than it is given."""
    at = 0
    while True:
        namespace = api.namespace()
        pool = api.create(a_pool(namespace))
        seen: list[str] = []

        def rule(request: web.Request, namespace: str = namespace, at: int = at, seen: list[str] = seen) -> Verdict:
            if not is_write_in(request, namespace):
                return PASS
            seen.append(request.path)
            if len(seen) != at + 1:
                return PASS
            end = lambda: os.kill(operator.pid, signal.SIGKILL)  # noqa: E731 - for two places
            if when == "after":
                return Verdict(after=end)
            end()
            return Verdict(status=503)

        gate.rule = rule
        operator.start()
        api.wait("the operator being killed or done", lambda: not operator.running or settled(api, pool), seconds=90)  # noqa: B023
        died = len(seen) > at
        if died:
            operator.wait()
        gate.rule = lambda _: PASS
        operator.start()
        wait_settled(api, pool)
        assert len([1 for version, kind in CHILDREN if there(api, child(version, kind, namespace))]) == len(CHILDREN)
        if not died:
            assert at >= len(CHILDREN), "there were fewer writes than objects: the gate did not see them"
            return
        at += 1


def test_a_conflict_on_every_write_is_tried_again(api, gate, operator, namespace):
    tried: Counter[str] = Counter()

    def rule(request: web.Request) -> Verdict:
        if not is_write_in(request, namespace):
            return PASS
        tried[request.path] += 1
        return Verdict(status=409) if tried[request.path] <= 2 else PASS

    gate.rule = rule
    with supervised(api, operator):
        wait_settled(api, api.create(a_pool(namespace)))
    assert all(count >= 3 for path, count in tried.items() if "events" not in path)


def test_a_watch_that_is_too_old_is_begun_anew(api, gate, operator, namespace):
    gone: Counter[str] = Counter()

    def rule(request: web.Request) -> Verdict:
        if request.query.get("watch") and not gone[request.path]:
            gone[request.path] += 1
            return Verdict(status=410, event=True)
        return PASS

    gate.rule = rule
    with supervised(api, operator):
        api.wait("watches being refused", lambda: len(gone) >= 4, seconds=60)
        wait_settled(api, api.create(a_pool(namespace)))


def test_an_api_server_that_is_away_is_waited_for(api, control_plane, gate, operator, namespace):
    """The Lease cannot be held meanwhile, so the process ends; started again, as a kubelet does, it waits."""
    first = api.create(a_pool(namespace, "first"))
    operator.start()
    wait_settled(api, first)
    control_plane.stop_apiserver()
    try:
        assert operator.wait() == 1
        assert "could not be renewed" in operator.words
        operator.start()
        api.wait("the operator waiting", lambda: "waiting for the API server" in operator.words, seconds=60)
    finally:
        control_plane.start_apiserver()
    wait_settled(api, api.create(a_pool(namespace, "second")))
    assert operator.running
    assert "unexpected" not in operator.words


def test_of_two_operators_one_acts_and_the_other_takes_over(
    api, control_plane, account, gate, operator, namespace, tmp_path
):
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "pilotfish-operator", "namespace": account.namespace},
    }
    operator.start()
    wait_settled(api, api.create(a_pool(namespace, "first")))
    assert api.get(lease)["spec"]["holderIdentity"] == "one"
    kubeconfig = control_plane.kubeconfig(tmp_path / "direct", token=account.token)
    with OperatorProcess(kubeconfig, account.namespace, tmp_path / "second.log", identity="two") as second:
        acted = len(gate.writes)
        wait_settled(api, api.create(a_pool(namespace, "second")))
        assert len(gate.writes) > acted, "the first one did not act"
        assert "acting" not in second.words
        operator.kill()
        wait_settled(api, api.create(a_pool(namespace, "third")))
        assert api.get(lease)["spec"]["holderIdentity"] == "two"
        assert second.stop() == 0
    assert not api.get(lease)["spec"].get("holderIdentity"), "a Lease that is let go can be had at once"


def test_a_pool_that_cannot_be_written_does_not_starve_others(api, gate, operator, namespace):
    def rule(request: web.Request) -> Verdict:
        return Verdict(status=500) if is_write_in(request, namespace) and "stuck" in request.path else PASS

    gate.rule = rule
    stuck = api.create(a_pool(namespace, "stuck"))
    with supervised(api, operator):
        for number in range(10):
            wait_settled(api, api.create(a_pool(namespace, f"free{number}")))
        assert condition(api, stuck, "Accepted")["status"] == "Unknown"
        gate.rule = lambda _: PASS
        wait_settled(api, stuck)


def test_a_server_that_fails_is_quoted_until_it_does_not(api, gate, operator, namespace):
    """As where an admission webhook is down: what the pool needs cannot be written, its status can."""

    def rule(request: web.Request) -> Verdict:
        return Verdict(status=500) if is_write_in(request, namespace) and "small-pool" in request.path else PASS

    gate.rule = rule
    pool = api.create(a_pool(namespace))
    with supervised(api, operator):
        api.wait(
            "the message in the status", lambda: condition(api, pool, "Scaled").get("reason") == "Refused", seconds=90
        )
        assert "the test says no" in condition(api, pool, "Scaled")["message"]
        gate.rule = lambda _: PASS
        wait_settled(api, pool)
        api.wait("them being taken back", lambda: condition(api, pool, "Scaled")["reason"] == "Scaling")
