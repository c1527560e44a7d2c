"""What a snapshot says of its pools."""

from resource_builders import a_pool

from pilotfish.routing.snapshot import PoolState, PoolView, snapshot


def test_pools_answer_that_are_ready_or_wake_when_asked() -> None:
    taken = snapshot([PoolView(a_pool(state.value.lower()), state) for state in PoolState], [])
    assert taken.answering == {"team": {"ready", "scaledtozero"}}
    ready = a_pool("ready")
    metadata = ready.metadata.model_copy(update={"namespace": "other"})
    elsewhere = ready.model_copy(update={"metadata": metadata})
    both = snapshot([PoolView(a_pool("failed"), PoolState.FAILED), PoolView(elsewhere, PoolState.READY)], [])
    assert both.answering == {"other": {"ready"}}
