"""The operator prepares plugins with Jobs, on a real API server. No kubelet runs: the test does what one would do."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from controlplane import Api, ControlPlane
from echo import Handler
from operator_cases import START_SECONDS, condition
from operatorprocess import Account, OperatorProcess

from pilotfish.render.preparation import PROGRESS_PORT


@pytest.fixture
def operator(control_plane: ControlPlane, account: Account, tmp_path: Path) -> Iterator[OperatorProcess]:
    """A running operator of an installation with a volume for what plugins prepare."""
    kubeconfig = control_plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
    settings = {"PILOTFISH_PREPARED_CLAIM": "prepared", "PILOTFISH_IMAGE": "operator.test/pilotfish:1"}
    with OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log", **settings) as process:
        yield process


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "terms", "namespace": namespace},
        "data": data,
    }


def glossary(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "pilotfish.dev/v1alpha1",
        "kind": "AdaptationPlugin",
        "metadata": {"name": "terms", "namespace": namespace},
        "spec": {"type": "glossary", "sources": [{"name": "terms", "configMapRef": {"name": "terms"}}]},
    }


def jobs(api: Api, namespace: str) -> list[dict[str, Any]]:
    listed = api.request("GET", api.path_of("batch/v1", "Job", namespace))["items"]
    return [
        {"apiVersion": "batch/v1", "kind": "Job", **each}
        for each in listed
        if "deletionTimestamp" not in each["metadata"]
    ]


def a_job(api: Api, namespace: str, *, beside: str = "") -> dict[str, Any]:
    """The only Job, once there is one that is another than `beside`."""
    found: list[dict[str, Any]] = []

    def made() -> bool:
        found[:] = jobs(api, namespace)
        return len(found) == 1 and found[0]["metadata"]["uid"] != beside

    api.wait("a Job", made, seconds=START_SECONDS)
    return found[0]


def end(api: Api, job: dict[str, Any], message: str, *, code: int = 0) -> None:
    """What the kubelet and the controller of Jobs report once its pod has ended."""
    template = job["spec"]["template"]
    metadata = {"name": f"{job['metadata']['name']}-x", "namespace": job["metadata"]["namespace"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": template["metadata"]["labels"]}}
    pod["spec"] = template["spec"]
    api.create(pod)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"startedAt": now, "finishedAt": now}
    state = {"terminated": {"exitCode": code, "message": message, "reason": "Ended", **times}}
    image = {"image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    statuses = [{"name": "prepare", "state": state, **image}]
    api.merge(
        pod, {"status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses}}, sub="/status"
    )
    kinds = ("FailureTarget", "Failed") if code else ("SuccessCriteriaMet", "Complete")
    conditions = [{"type": kind, "status": "True", "lastTransitionTime": now, "reason": "Ended"} for kind in kinds]
    done = {"failed": 1} if code else {"succeeded": 1, "completionTime": now}
    api.merge(job, {"status": {"startTime": now, "conditions": conditions, **done}}, sub="/status")


def carry_out(api: Api, job: dict[str, Any], folder: Path, data: dict[str, str]) -> None:
    """Run the command of a Job as its pod would, with folders of the test in place of mounts, and report its end."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    documents = folder / "documents" / "terms"
    documents.mkdir(parents=True, exist_ok=True)
    for name, text in data.items():
        (documents / name).write_text(text)
    places = {"/prepared": "prepared", "/documents": "documents", "/dev/termination-log": "log"}
    command = ["0" if part == str(PROGRESS_PORT) else part for part in container["command"]]
    for mounted, place in places.items():
        command = [part.replace(mounted, str(folder / place)) for part in command]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert command.pop(0) == "pilotfish"
    program = [sys.executable, "-c", "from pilotfish.cli.main import main; main()", *command]
    done = subprocess.run(program, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    end(api, job, (folder / "log").read_text())


class Gateway:
    """`pilotfish gateway` for one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str, prepared: Path, log: Path) -> None:
        self._log = log
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PILOTFISH_PORT": "0"}
        environment |= {"PILOTFISH_WATCH_NAMESPACES": namespace, "PILOTFISH_PREPARED": str(prepared)}
        command = [sys.executable, "-c", "from pilotfish.cli.main import main; main()", "gateway"]
        with log.open("wb") as words:
            self._process = subprocess.Popen(command, env=environment, stdout=words, stderr=words)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(timeout=60)

    def ask(self, model: str) -> tuple[int, str]:
        """The status, and the answer's text or the whole error. Status 0 while it does not listen."""
        listening = re.search(r"listening on port (\d+)", self._log.read_text())
        if listening is None:
            return 0, ""
        body = {"model": model, "messages": [{"role": "user", "content": "What is PTO?"}]}
        answer = httpx.post(f"http://127.0.0.1:{listening[1]}/v1/chat/completions", json=body, timeout=30)
        said = answer.json()["choices"][0]["message"]["content"] if answer.is_success else answer.text
        return answer.status_code, said


def result(digest: str) -> str:
    return json.dumps({"digest": digest * 64, "folder": "/prepared/x", "documents": 1, "details": {"entries": 2}})


@pytest.mark.usefixtures("operator")
def test_a_job_prepares_a_plugin_and_another_one_when_its_documents_change(api: Api, namespace: str) -> None:
    plugin = api.create(glossary(namespace))
    api.wait(
        "the ConfigMap to be missed",
        lambda: condition(api, plugin, "Ready").get("reason") == "NotFound",
        seconds=START_SECONDS,
    )
    assert "ConfigMap 'terms'" in condition(api, plugin, "Ready")["message"]

    source = api.create(config_map(namespace, **{"terms.csv": "term,definition\nPTO,paid time off\n"}))
    first = a_job(api, namespace)
    api.wait("the Job in the status", lambda: condition(api, plugin, "Ready").get("reason") == "Preparing")
    end(api, first, result("a"))
    api.wait("the plugin to be ready", lambda: condition(api, plugin, "Ready").get("status") == "True")
    prepared = api.get(plugin)["status"]["prepared"]
    assert (prepared["digest"], prepared["documents"]) == ("a" * 64, 1)
    assert prepared["job"] == first["metadata"]["name"]

    api.delete(first)
    again = a_job(api, namespace, beside=first["metadata"]["uid"])
    assert again["metadata"]["name"] == first["metadata"]["name"]
    assert api.get(plugin)["status"]["prepared"] == prepared

    api.merge(source, {"data": {"terms.csv": "term,definition\nPTO,a printed tree\n"}})
    second = a_job(api, namespace, beside=again["metadata"]["uid"])
    assert second["metadata"]["name"] != first["metadata"]["name"]
    api.wait("the new Job in the status", lambda: condition(api, plugin, "Prepared").get("reason") == "Preparing")
    assert condition(api, plugin, "Ready")["status"] == "True"
    end(api, second, "reading\nerror: sources: no document has an entry", code=1)
    api.wait("the failure", lambda: condition(api, plugin, "Degraded").get("status") == "True")
    assert "no document has an entry" in condition(api, plugin, "Prepared")["message"]
    assert api.get(plugin)["status"]["prepared"] == prepared


@pytest.fixture
def echo() -> Iterator[str]:
    """The base URL of a model that repeats the last message."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("operator")
def test_what_a_job_prepared_changes_the_answers_of_a_gateway_that_is_not_restarted(
    api: Api, control_plane: ControlPlane, namespace: str, echo: str, tmp_path: Path
) -> None:
    def ours(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    def data(definition: str) -> dict[str, str]:
        return {"terms.csv": f"term,definition\nPTO,{definition}\n"}

    direct = {"type": "Direct", "direct": {"poolRef": {"name": "echo"}}}
    plugin = glossary(namespace)
    plugin["spec"]["failurePolicy"] = "Fail"
    api.create(ours("ModelPool", "echo", {"tier": "Small", "external": {"baseURL": echo, "model": "echo"}}))
    api.create(plugin)
    api.create(ours("ModelRouter", "assistant", {"strategy": direct, "plugins": [{"pluginRef": {"name": "terms"}}]}))
    kubeconfig, log = control_plane.kubeconfig(tmp_path / "admin"), tmp_path / "gateway.log"
    gateway = Gateway(kubeconfig, namespace, tmp_path / "prepared", log)
    try:
        api.wait("the plugin to be missed", lambda: gateway.ask("assistant")[0] == 503, seconds=START_SECONDS)
        assert "plugin 'terms': it is not prepared yet" in gateway.ask("assistant")[1]
        source = api.create(config_map(namespace, **data("paid time off")))
        first = a_job(api, namespace)
        carry_out(api, first, tmp_path, data("paid time off"))
        api.wait("the first answer", lambda: "paid time off" in gateway.ask("assistant")[1], seconds=START_SECONDS)
        api.merge(source, {"data": data("a printed tree")})
        second = a_job(api, namespace, beside=first["metadata"]["uid"])
        assert "paid time off" in gateway.ask("assistant")[1]
        carry_out(api, second, tmp_path, data("a printed tree"))
        api.wait("the second answer", lambda: "a printed tree" in gateway.ask("assistant")[1], seconds=START_SECONDS)
    finally:
        assert gateway.stop() == 0, log.read_text()
