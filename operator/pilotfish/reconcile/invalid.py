"""A resource that the API server accepted but the models reject: only its status is written."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pilotfish.api.reasons import Reason
from pilotfish.api.status import Condition, ConditionType, Status
from pilotfish.api.validation import Fault
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue, accepted
from pilotfish.reconcile.outcome import Context, Outcome


def decide(raw: Mapping[str, Any], faults: Sequence[Fault], context: Context) -> Outcome:
    """The status of an object (as JSON) with `faults`."""
    conditions = ConditionSet({ConditionType.ACCEPTED: accepted(faults)})
    conditions.finish(ConditionValue.unknown(Reason.INVALID_SPEC), (ConditionType.ACCEPTED,))
    generation = raw["metadata"].get("generation")
    status = Status(
        observed_generation=generation, conditions=conditions.conditions(_previous(raw), generation, context.now)
    )
    return Outcome(status.model_dump(mode="json", by_alias=True, exclude_none=True))


def _previous(raw: Mapping[str, Any]) -> tuple[Condition, ...]:
    try:
        return Status.model_validate({"conditions": raw.get("status", {}).get("conditions", [])}).conditions
    except ValidationError:
        return ()
