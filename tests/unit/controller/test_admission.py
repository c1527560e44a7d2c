"""What the webhook judges: a spec that is declared, and no other change of its object."""

import pytest
from resource_builders import a_pool

from pilotfish.api.validation import Fault
from pilotfish.controller.admission import Admission

WRONG, RIGHT = a_pool(tier="Large").to_manifest(), a_pool().to_manifest()


def refuse_large(resource):
    return [Fault(("spec", "tier"), "none of these here")] if resource.spec.tier == "Large" else []


async def no_pools(_namespace, _names):
    return {}


def changed(manifest, **metadata):
    return manifest | {"metadata": manifest["metadata"] | metadata}


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (None, WRONG, False),
        (RIGHT, WRONG, False),
        (WRONG, RIGHT, True),
        (WRONG, changed(WRONG, labels={"team": "a"}), True),
        (RIGHT, changed(WRONG, deletionTimestamp="2026-01-01T00:00:00Z", finalizers=[]), True),
    ],
)
async def test_what_was_let_in_once_may_still_be_labelled_and_deleted(before, after, allowed):
    request = {"uid": "u", "object": after, "oldObject": before}
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    answer = await Admission(refuse_large, no_pools).review(review)
    assert answer["response"]["allowed"] is allowed
