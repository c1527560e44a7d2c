"""A real cluster as tests use it, through kubectl and helm."""

import json
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RELEASE, HOME, TEAM = "pilotfish", "pilotfish-system", "pilotfish-e2e"
URL = f"http://{RELEASE}-gateway.{HOME}.svc/v1"


class Cluster:
    """kubectl and helm, with what they say in the message of a failure."""

    def __init__(self, image: str, pool_image: str) -> None:
        self.image, self.pool_image = image, pool_image

    def run(self, *command: str, given: str | None = None, seconds: int = 1200) -> str:
        """The output of a program. AssertionError with its output if it fails."""
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints, in the team's namespace unless the arguments say another."""
        return self.run("kubectl", "--namespace", TEAM, *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        """What kubectl gets, as JSON."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def wait_ready(self, *what: str) -> None:
        """Wait for Ready; engines take their time on small machines."""
        self.kubectl("wait", "--for=condition=Ready", "--timeout=20m", *what)

    def install(self, *more: str) -> None:
        """The chart, a namespace for the team, and what its pods ask with."""
        self.helm_upgrade(*more)
        self.run("kubectl", "create", "namespace", TEAM)
        self.run("kubectl", "label", "namespace", TEAM, "pod-security.kubernetes.io/enforce=restricted")
        self.kubectl("create", "configmap", "ask", f"--from-file={ROOT / 'tests' / 'e2e' / 'ask.py'}")

    def uninstall(self) -> None:
        """Remove the chart, then the resources; AssertionError when something of them stays."""
        self.run("helm", "uninstall", RELEASE, "-n", HOME, "--wait")
        self.kubectl("delete", "mp,mr,ap,asp", "--all", "--timeout=2m")
        self.kubectl("wait", "--for=delete", "pod", "-l", "pilotfish.dev/pool", "--timeout=15m")
        left = self.kubectl("get", "deployment,service,networkpolicy,pod", "-l", "pilotfish.dev/pool", "-o", "name")
        assert left == ""
        self.run("kubectl", "delete", "namespace", TEAM, HOME, "--timeout=5m")
        named = "clusterrole,clusterrolebinding"
        assert RELEASE not in self.run("kubectl", "get", named, "-o", "name")

    def helm_upgrade(self, *more: str) -> None:
        """Install the chart, or bring the release to it."""
        images = []
        for key, image in (("image", self.image), ("pools.image", self.pool_image)):
            repository, _, tag = image.rpartition(":")
            images += ["--set", f"{key}.repository={repository}", "--set", f"{key}.tag={tag}"]
        chart = str(ROOT / "charts" / "pilotfish")
        base = ("helm", "upgrade", "--install", RELEASE, chart, "-n", HOME, "--create-namespace", "--wait")
        self.run(*base, *images, *more)

    def start_asking(self, name: str, *arguments: str) -> None:
        """Start a pod that asks the gateway; see ask.py."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "ask",
                        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        "image": self.image,
                        "command": ["python3", "/ask/ask.py", URL],
                        "args": list(arguments),
                        "volumeMounts": [{"name": "ask", "mountPath": "/ask"}],
                    }
                ],
                "volumes": [{"name": "ask", "configMap": {"name": "ask"}}],
            },
        }
        self.kubectl("apply", "-f", "-", given=json.dumps(pod))

    def answer(self, name: str) -> dict[str, Any]:
        """What the pod printed at its end. AssertionError when it failed."""
        self.kubectl(
            "wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated}", "--timeout=15m", f"pod/{name}"
        )
        said = json.loads(self.kubectl("logs", name).strip().splitlines()[-1])
        self.kubectl("delete", "pod", name)
        return said
