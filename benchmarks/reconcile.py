"""How long 1,000 ModelPools take to become objects, what memory that takes, and what a restart writes.

Run: python benchmarks/reconcile.py [--pools 1000]. Starts a kube-apiserver and etcd of its own on loopback, and the
operator as a process with the chart's rights. Prints figures; the API server's audit log is what counts requests.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from controlplane import Api, ControlPlane, find_programs  # noqa: E402 - found by the line above
from operator_cases import CHILDREN, a_pool  # noqa: E402
from operatorprocess import Account, OperatorProcess  # noqa: E402

LONGEST_SECONDS = 900


def count(api: Api, namespace: str, version: str, kind: str) -> int:
    page = api.request("GET", api.path_of(version, kind, namespace), params={"limit": "1"})
    return len(page["items"]) + page["metadata"].get("remainingItemCount", 0)


def until(what: str, done: Callable[[], bool], every: float = 0.5) -> float:
    """Seconds until `done` holds."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > LONGEST_SECONDS:
            raise SystemExit(f"{what} did not come true in {LONGEST_SECONDS} s")
        time.sleep(every)
    return time.monotonic() - began


def memory(process: OperatorProcess) -> str:
    usage = psutil.Process(process.pid)
    peak = next(
        line.split()[1] for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line
    )
    return f"{usage.memory_info().rss / 2**20:.0f} MiB now, {int(peak) / 2**10:.0f} MiB at most"


def writes(plane: ControlPlane, account: Account) -> Counter[str]:
    return Counter(
        f"{request.verb} {request.resource}{'/' if request.subresource else ''}{request.subresource}"
        for request in plane.requests(account.user)
        if request.verb not in {"get", "list", "watch"} and request.resource != "leases"
    )


def run(pools: int, folder: Path) -> None:
    with ControlPlane(find_programs(), folder) as plane, plane.api() as api:
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            api.apply(yaml.safe_load(path.read_text()))
        account, namespace = Account.make(api), api.namespace()
        kubeconfig = plane.kubeconfig(folder / "operator.kubeconfig", token=account.token)
        operator = OperatorProcess(kubeconfig, account.namespace, folder / "operator.log")
        with operator:
            until("acting", lambda: "acting" in operator.words)
            print(f"operator at rest: {memory(operator)}")
            began = time.monotonic()
            with ThreadPoolExecutor(8) as threads:
                list(threads.map(lambda n: api.create(a_pool(namespace, f"pool{n}")), range(pools)))
            print(f"{pools} pools created in {time.monotonic() - began:.1f} s")
            until("all children", lambda: all(count(api, namespace, *kind) == pools for kind in CHILDREN))
            print(f"all {pools * len(CHILDREN)} objects there {time.monotonic() - began:.1f} s after the first create")
            until("all statuses", lambda: all_reported(api, namespace), every=2)
            print(f"all statuses there after {time.monotonic() - began:.1f} s; operator: {memory(operator)}")
            cpu = sum(psutil.Process(operator.pid).cpu_times()[:2])
            print(f"CPU of the operator: {cpu:.1f} s; writes: {dict(writes(plane, account))}")
            operator.stop()
            before = writes(plane, account)
            operator.start()
            fence = api.create(a_pool(namespace, "fence"))
            took = until("a new pool", lambda: bool(api.get(fence).get("status", {}).get("observedGeneration")))
            print(f"restarted: acted on a new pool after {took:.1f} s; operator: {memory(operator)}")
            fresh = writes(plane, account) - before
            print(f"writes of the restart, those for the new pool included: {dict(fresh)}")


def all_reported(api: Api, namespace: str) -> bool:
    items = api.request("GET", api.path_of("pilotfish.dev/v1alpha1", "ModelPool", namespace))["items"]
    return all(item.get("status", {}).get("observedGeneration") == item["metadata"]["generation"] for item in items)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pools", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as folder:
        run(arguments.pools, Path(folder))
