"""Runs find each other, and dead ones are forgotten."""

from dataclasses import replace

from pilotfish.local import state


def test_a_dead_run_is_forgotten_and_a_live_one_found(tmp_path):
    folder = tmp_path / "pilotfish"
    pid, started = state.this_process()
    alive = state.RunState(pid, started, "http://127.0.0.1:1", 1, "http://127.0.0.1:2/metrics", ("examples",))
    written = state.write(folder, alive)
    # The same number, another process: numbers come again.
    reused = state.write(folder, replace(alive, started=started - 1, port=2))
    assert state.running(folder) == (alive,)
    assert not reused.exists()
    state.remove(written)
    assert not folder.exists()
    assert state.running(folder) == ()
