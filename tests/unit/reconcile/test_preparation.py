"""A plugin that prepares: its Job, and what its status reports of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from resource_builders import a_context, a_plugin, a_pool, an_external, condition, says

from pilotfish.base.keys import Key
from pilotfish.reconcile import drift, plugin
from pilotfish.reconcile.outcome import Context, Outcome
from pilotfish.reconcile.plugin import ObservedPlugin

ANSWERED = {"type": "EngineReady", "status": "True", "reason": "Answering", "lastTransitionTime": "t"}
READY = {
    "readyReplicas": 1,
    "url": "http://embedder.team.svc/v1",
    "resolvedRevision": "c0ffee",
    "conditions": [ANSWERED],
}
BOOK = {"name": "book", "configMapRef": {"name": "book"}}
CONTEXT = a_context(prepared_claim="prepared", image="operator.test/pilotfish:1")
RESULT = {"digest": "a" * 64, "folder": "/prepared/x", "documents": 3, "details": {"entries": 7}}
BOOKS = {Key("ConfigMap", "team", "book"): "one"}


def handbook(**spec: Any) -> Any:
    return a_plugin(**{"sources": [BOOK], **spec})


def seen(**more: Any) -> ObservedPlugin:
    return ObservedPlugin(**{"prepares": True, "config_maps": BOOKS, **more})


def decided(resource: Any = None, observed: ObservedPlugin | None = None, context: Context = CONTEXT) -> Outcome:
    return plugin.decide(resource or handbook(), observed or seen(), context)


def job(outcome: Outcome) -> dict[str, Any]:
    (found,) = outcome.manifests
    return dict(found)


def ended(outcome: Outcome, kind: str, message: str = "", at: str = "2026-07-31T12:00:00Z") -> dict[Key, Any]:
    """The Job of an outcome, as it is once it has ended."""
    made = job(outcome)
    entry = {"type": kind, "status": "True", "lastTransitionTime": at, "message": message}
    return {Key.of(made): {**made, "metadata": {**made["metadata"], "uid": "u"}, "status": {"conditions": [entry]}}}


def a_pod(outcome: Outcome, message: str, code: int = 0) -> dict[str, Any]:
    name = job(outcome)["metadata"]["name"]
    state = {"terminated": {"exitCode": code, "message": message}}
    return {
        "metadata": {"name": f"{name}-x", "labels": {"batch.kubernetes.io/job-name": name}},
        "status": {"containerStatuses": [{"name": "prepare", "state": state}]},
    }


def after(resource: Any, outcome: Outcome) -> Any:
    """The resource with the status of an outcome."""
    return type(resource).model_validate(resource.to_manifest() | {"status": outcome.status})


def complete(resource: Any, first: Outcome, **more: Any) -> Outcome:
    pods = (a_pod(first, json.dumps(RESULT)),)
    return decided(resource, seen(children=ended(first, "Complete"), pods=pods, **more))


def test_a_job_mounts_the_documents_and_writes_to_the_claim():
    sources = [
        BOOK,
        {"name": "shelf", "uri": "pvc://shelf/pages"},
        {"name": "web", "uri": "pvc://shelf/more", "credentialsSecretRef": {"name": "keys", "key": "one"}},
    ]
    roles = [{"role": "embedder", "name": "small"}, {"role": "judge", "name": "frontier"}]
    pools = (a_pool("small", status=READY), an_external())
    made = job(decided(handbook(sources=sources, poolRefs=roles), seen(pools=(pools[0],))))
    assert made["metadata"]["ownerReferences"][0]["name"] == "handbook"
    pod = made["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "operator.test/pilotfish:1"
    assert " ".join(container["command"]) == (
        "pilotfish prepare --to /prepared/team.handbook --result /dev/termination-log --progress-port 8002"
        " --config-map book=/documents/book --volume shelf=/volumes/shelf --secret keys/one=/secrets/keys/one"
    )
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes[mounts["/prepared"]]["persistentVolumeClaim"] == {"claimName": "prepared"}
    assert volumes[mounts["/documents/book"]]["configMap"] == {"name": "book"}
    assert volumes[mounts["/volumes/shelf"]]["persistentVolumeClaim"] == {"claimName": "shelf", "readOnly": True}
    assert volumes[mounts["/secrets/keys/one"]]["secret"]["secretName"] == "keys"
    given = next(each["value"] for each in container["env"] if each["name"] == "PILOTFISH_MANIFESTS")
    described, pool = yaml.safe_load_all(given)
    assert described["spec"]["sources"] == sources
    assert pool["status"] == {"url": "http://embedder.team.svc/v1", "resolvedRevision": "c0ffee"}


def test_object_stores_are_read_with_the_image_of_pools():
    made = job(decided(handbook(sources=[{"name": "s", "uri": "s3://bucket/pages"}])))
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == CONTEXT.render.pool_image


def test_another_job_is_made_exactly_when_the_result_may_be_another():
    roles = [{"role": "embedder", "name": "small"}]
    asks = handbook(poolRefs=roles)

    def name(resource: Any, **more: Any) -> str:
        return str(job(decided(resource, seen(**more)))["metadata"]["name"])

    first = name(handbook())
    assert name(handbook(timeoutSeconds=60, failurePolicy="Fail")) == first
    others = {
        first,
        name(handbook(config={"x": 1})),
        name(handbook(sources=[{**BOOK, "name": "other"}])),
        name(handbook(), config_maps={next(iter(BOOKS)): "two"}),
        name(asks, pools=(a_pool("small", status=READY),)),
        name(asks, pools=(a_pool("small", status=READY | {"resolvedRevision": "beef"}),)),
    }
    assert len(others) == 6
    assert all(len(each) <= 63 for each in others)


def test_a_plugin_is_ready_once_it_is_prepared():
    first = decided()
    assert says(first, "Ready") == says(first, "Prepared") == ("False", "Preparing")
    assert says(first, "Reconciling") == ("True", "Preparing")
    done = complete(handbook(), first)
    assert says(done, "Ready") == ("True", "Resolved")
    assert says(done, "Prepared") == ("True", "Prepared")
    prepared = done.status["prepared"]
    assert (prepared["digest"], prepared["documents"], prepared["details"]) == ("a" * 64, 3, {"entries": 7})
    assert done.manifests == first.manifests


def test_the_progress_of_a_job_is_in_the_condition():
    first = decided()
    running = {key: {**made, "status": {}} for key, made in ended(first, "Complete").items()}
    outcome = decided(observed=seen(children=running, progress="indexing, 5 of 10"))
    name = job(first)["metadata"]["name"]
    assert condition(outcome, "Prepared")["message"] == f"Job '{name}' prepares the documents: indexing, 5 of 10"
    assert outcome.requeue_after == 15.0


def test_a_change_makes_a_new_job_and_what_was_prepared_stays_in_use():
    first = decided()
    done = complete(handbook(), first)
    now = after(handbook(), done)
    changed = decided(now, seen(children=ended(first, "Complete"), config_maps={next(iter(BOOKS)): "two"}))
    assert job(changed)["metadata"]["name"] != job(first)["metadata"]["name"]
    assert changed.deletions == (Key.of(job(first)),)
    assert says(changed, "Prepared") == ("False", "Preparing")
    assert says(changed, "Ready") == ("True", "Resolved")
    assert changed.status["prepared"] == done.status["prepared"]


def test_a_job_that_failed_is_quoted_and_made_again_after_a_while():
    first = decided()
    pods = (a_pod(first, "reading\nerror: sources: no document has an entry\n", code=1),)
    at = seen(children=ended(first, "Failed", "backoff limit"), pods=pods)
    failed = decided(observed=at, context=replace(CONTEXT, now="2026-07-31T12:01:00Z"))
    assert says(failed, "Ready") == ("False", "PreparationFailed")
    assert "error: sources: no document has an entry (exit code 1)" in condition(failed, "Ready")["message"]
    assert (failed.requeue_after, failed.deletions) == (540.0, ())
    later = decided(observed=at, context=replace(CONTEXT, now="2026-07-31T12:10:00Z"))
    assert later.deletions == (Key.of(job(first)),)

    again = complete(handbook(), first)
    degraded = decided(after(handbook(), again), at, replace(CONTEXT, now="2026-07-31T12:01:00Z"))
    assert says(degraded, "Ready") == ("True", "Resolved")
    assert says(degraded, "Degraded") == ("True", "PreparationFailed")


def test_the_first_failed_try_of_a_job_is_quoted():
    first = decided()
    running = {key: {**made, "status": {}} for key, made in ended(first, "Failed").items()}
    pods = (a_pod(first, "error: no space", code=1),)
    outcome = decided(observed=seen(children=running, pods=pods))
    assert says(outcome, "Ready") == ("False", "PreparationFailed")
    assert "is tried again after" in condition(outcome, "Ready")["message"]
    assert outcome.deletions == ()


def test_a_job_whose_result_is_lost_is_made_again():
    first = decided()
    lost = decided(observed=seen(children=ended(first, "Complete")))
    assert lost.deletions == (Key.of(job(first)),)
    known = after(handbook(), complete(handbook(), first))
    assert says(decided(known, seen(children=ended(first, "Complete"))), "Prepared") == ("True", "Prepared")


def test_a_job_that_was_removed_is_made_again_and_the_plugin_stays_ready():
    first = decided()
    known = after(handbook(), complete(handbook(), first))
    outcome = decided(known)
    assert outcome.manifests == first.manifests
    assert says(outcome, "Ready") == ("True", "Resolved")
    assert not drift.needs_apply(outcome.manifests[0], ended(first, "Complete")[Key.of(job(first))])


@pytest.mark.parametrize(
    ("resource", "observed", "context", "reason"),
    [
        (handbook(), seen(), a_context(), "NoPreparedClaim"),
        (handbook(), seen(missing=tuple(BOOKS)), CONTEXT, "NotFound"),
        (
            handbook(poolRefs=[{"role": "embedder", "name": "small"}]),
            seen(pools=(a_pool("small"),)),
            CONTEXT,
            "Preparing",
        ),
    ],
)
def test_nothing_is_prepared_before_everything_is_there(resource, observed, context, reason):
    outcome = decided(resource, observed, context)
    assert outcome.manifests == ()
    assert says(outcome, "Ready") == ("False", reason)


def test_a_refresh_makes_a_job_in_each_period():
    refreshed = handbook(refreshSeconds=3600)
    times = ("2026-07-31T12:00:00Z", "2026-07-31T12:59:59Z", "2026-07-31T13:00:00Z")
    outcomes = [decided(refreshed, context=replace(CONTEXT, now=now)) for now in times]
    names = [job(outcome)["metadata"]["name"] for outcome in outcomes]
    assert names[0] == names[1] != names[2]
    assert [outcome.requeue_after for outcome in outcomes] == [3600.0, 1.0, 3600.0]


def test_what_needs_no_preparation_has_no_job():
    outcome = plugin.decide(a_plugin(), ObservedPlugin(children=ended(decided(), "Complete")), CONTEXT)
    assert outcome.manifests == ()
    assert len(outcome.deletions) == 1
    assert says(outcome, "Ready") == ("True", "Resolved")
