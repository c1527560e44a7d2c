"""Accepted and ResolvedRefs: faults of a spec as conditions, the same for every kind."""

from collections.abc import Iterable, Sequence

from pilotfish.api.validation import Fault
from pilotfish.reconcile.conditions import Finding, Reason


def accepted(faults: Sequence[Fault], remarks: Iterable[str] = ()) -> Finding:
    """Accepted: True and what is to be remarked, or all faults with their fields' paths, and the first one's reason."""
    if not faults:
        return Finding.true(Reason.ACCEPTED, "; ".join(remarks))
    return Finding.false(reason_of(faults[0]), "; ".join(map(str, faults)))


def resolved(missing: Iterable[tuple[str, str]], namespace: str) -> Finding:
    """ResolvedRefs: True when nothing (kind, name) is missing, else all that is."""
    names = [f"{kind} {name!r}" for kind, name in missing]
    if not names:
        return Finding.true(Reason.RESOLVED)
    return Finding.false(Reason.NOT_FOUND, f"not in namespace {namespace!r}: {', '.join(names)}")


def reason_of(fault: Fault) -> Reason:
    """Which reason a fault is, told from its field."""
    path = fault.path
    if path[-1:] == ("uri",):
        return Reason.UNKNOWN_SOURCE
    if path[:3] == ("spec", "engine", "args"):
        return Reason.RESERVED_ENGINE_ARGUMENT
    if path in {("spec", "runtime"), ("spec", "nodes")}:
        return Reason.RUNTIME_UNAVAILABLE
    if "config" in path:
        return Reason.INVALID_PLUGIN_CONFIG
    if path == ("spec", "type") or path[-2:] == ("scorer", "name"):
        return Reason.UNKNOWN_PLUGIN
    return Reason.INVALID_SPEC
