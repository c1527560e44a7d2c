"""A resource that the API server let in but our models refuse: its status says so, and nothing else happens."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pilotfish.api.status import ConditionType, Status
from pilotfish.api.validation import Fault
from pilotfish.reconcile.acceptance import accepted
from pilotfish.reconcile.conditions import Finding, Findings, Reason
from pilotfish.reconcile.outcome import Context, Outcome


def desired_state(raw: Mapping[str, Any], faults: Sequence[Fault], context: Context) -> Outcome:
    """The status of an object (as JSON) with `faults`."""
    findings = Findings()
    findings.mark(ConditionType.ACCEPTED, accepted(faults))
    findings.finish(Finding.unknown(Reason.INVALID_SPEC), (ConditionType.ACCEPTED,))
    generation = raw["metadata"].get("generation")
    conditions = findings.conditions(_previous(raw), generation, context.now)
    status = Status(observed_generation=generation, conditions=conditions)
    return Outcome(status.model_dump(mode="json", by_alias=True, exclude_none=True))


def _previous(raw: Mapping[str, Any]) -> tuple[Any, ...]:
    try:
        return Status.model_validate({"conditions": raw.get("status", {}).get("conditions", [])}).conditions
    except ValidationError:
        return ()
