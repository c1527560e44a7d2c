"""What a snapshot says of its pools."""

from resource_builders import a_pool

from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, snapshot

AT = (Endpoint("http://pool:8000/v1"),)


def test_a_pool_answers_when_it_is_ready_and_has_an_address_or_its_requests_are_held() -> None:
    views = [PoolView(a_pool(state.value.lower()), state, AT) for state in PoolState]
    assert snapshot(views, []).answering == {"team": {"ready"}}
    without = [PoolView(view.pool, view.state) for view in views]
    assert not snapshot(without, []).answering
    held = [PoolView(view.pool, view.state, hold_seconds=30) for view in views if view.state is not PoolState.READY]
    assert snapshot(held, []).answering == {"team": {"loading", "scaledtozero"}}


def test_answering_pools_are_listed_by_namespace() -> None:
    ready = a_pool("ready")
    metadata = ready.metadata.model_copy(update={"namespace": "other"})
    elsewhere = ready.model_copy(update={"metadata": metadata})
    both = snapshot([PoolView(a_pool("failed"), PoolState.FAILED), PoolView(elsewhere, PoolState.READY, AT)], [])
    assert both.answering == {"other": {"ready"}}
