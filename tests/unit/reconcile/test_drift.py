"""When is an object applied: if it lacks something that is wanted, or was made of something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.reconcile.drift import needs_apply, sealed, without_strangers

scalars = st.one_of(st.integers(), st.booleans(), st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
)
names = st.text("abc", min_size=1, max_size=3)
specs = st.dictionaries(st.text(max_size=5), values, max_size=4)


def manifest(spec):
    return sealed({"kind": "K", "metadata": {"name": "n"}, "spec": spec})


def defaulted(value):
    """What an API server may make of a value: fields added, nothing taken away."""
    if isinstance(value, dict):
        return {key: defaulted(item) for key, item in value.items()} | {"added by the server": 1}
    return [defaulted(item) for item in value] if isinstance(value, list) else value


@given(specs)
def test_what_a_server_adds_is_no_drift(spec):
    wanted = manifest(spec)
    assert not needs_apply(wanted, defaulted(wanted))


@given(st.dictionaries(names, st.lists(names, max_size=3, unique=True), max_size=3), st.data())
def test_items_of_others_go_and_nothing_else_does(containers, data):
    def mixed(items):
        strangers = [{"name": f"theirs-{number}"} for number in range(data.draw(st.integers(0, 2)))]
        return data.draw(st.permutations([*items, *strangers]))

    ours = [{"name": name, "env": [{"name": each} for each in env]} for name, env in containers.items()]
    wanted = manifest({"containers": ours, "command": ["run"]})
    live = defaulted(wanted)
    live["spec"]["containers"] = mixed({**each, "env": mixed(each["env"])} for each in live["spec"]["containers"])
    alone = without_strangers(live, wanted)
    assert alone == defaulted(wanted)
    assert not needs_apply(wanted, alone)


WEB = {"containerPort": 8000, "protocol": "TCP"}
SPREAD = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (WEB, {**WEB, "protocol": "UDP"}),
        ({"containerPort": 8000}, {**WEB, "protocol": "UDP"}),
        (SPREAD, {**SPREAD, "whenUnsatisfiable": "ScheduleAnyway"}),
        (SPREAD, {**SPREAD, "topologyKey": "host"}),
    ],
)
def test_items_are_told_apart_by_all_that_the_api_server_looks_at(ours, theirs):
    live = {"protocol": "TCP", **ours} if "containerPort" in ours else ours
    for mixed in ([live, theirs], [theirs, live]):
        assert without_strangers({"items": mixed}, {"items": [ours]}) == {"items": [live]}


@given(specs, specs)
def test_another_spec_is_always_applied(before, after):
    if before != after:
        assert needs_apply(manifest(after), defaulted(manifest(before)))


def test_what_is_missing_is_applied():
    assert needs_apply(manifest({}), None)


@pytest.mark.parametrize(
    ("live", "wanted", "differs"),
    [
        ({"requests": {"cpu": "500m"}}, {"requests": {"cpu": "0.5"}}, False),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "1024Mi"}}, False),
        ({"requests": {"memory": "1G"}}, {"requests": {"memory": "1Gi"}}, True),
        ({"value": "500m"}, {"value": "0.5"}, True),
        ({}, {"list": []}, False),
        ({"list": [1]}, {"list": []}, True),
        ({"list": [1, 2]}, {"list": [1]}, True),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}, False),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": ""}]}, True),
        ({"nodeSelector": {}}, {"nodeSelector": {"gpu": ""}}, True),
        ({"podSelector": {}}, {"podSelector": {}, "namespaceSelector": {}}, True),
    ],
)
def test_a_table_of_edits(live, wanted, differs):
    seal = manifest(wanted)
    assert needs_apply(seal, {**seal, "spec": live}) is differs
