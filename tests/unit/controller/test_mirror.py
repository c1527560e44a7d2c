"""Responses to writes, until the watches bring the objects."""

from resource_builders import a_pool

from pilotfish.base.keys import Key
from pilotfish.controller.mirror import Mirror
from pilotfish.reconcile.kinds import KINDS


def test_a_child_whose_kind_is_in_the_table_is_kept_while_it_is_looked_up_as_a_resource():
    child = a_pool().to_manifest()
    key = Key.of(child)
    mirror = Mirror(KINDS)
    mirror.applied(key, child)
    mirror.reported(key, mirror.parse(child))
    assert mirror.find(key) is None
    assert mirror.unseen(key) == child
    mirror.forget(key)
    assert mirror.unseen(key) == child
    mirror.forget_child(key)
    assert mirror.unseen(key) is None
