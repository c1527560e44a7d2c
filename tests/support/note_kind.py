"""A kind that Pilotfish does not have. It needs a model, `decide`, and an entry in the table of kinds.

Run as a program, this is an operator that knows the kind.
"""

import asyncio
import logging
import os
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import LocalObjectRef, Model
from pilotfish.api.reasons import Reason
from pilotfish.api.resource import Definition, Resource
from pilotfish.api.status import ConditionType, Status
from pilotfish.cli.operator import operate
from pilotfish.kube.credentials import find_credentials
from pilotfish.reconcile import drift
from pilotfish.reconcile.conditions import ConditionSet, ConditionValue
from pilotfish.reconcile.kind import Child, Kind, Reference, observe_basics
from pilotfish.reconcile.kinds import KINDS, KindTable
from pilotfish.reconcile.outcome import Context, Observed, Outcome
from pilotfish.render.labels import owner_reference
from pilotfish.render.resources import CONFIG_MAPS
from pilotfish.settings import OperatorSettings


class NoteSpec(Model):
    """The desired note."""

    text: Annotated[str, Field(max_length=1000)]
    """The text of the note."""
    pool_ref: LocalObjectRef | None = None
    """The pool that the note is about."""


class NoteStatus(Status):
    """The state of the note."""

    length: Annotated[int, Field(strict=True, ge=0)] | None = None
    """The number of characters."""


class Note(Resource):
    """A Note is a text about a pool, kept in a ConfigMap."""

    definition: ClassVar = Definition("notes", "nt", ())
    kind: Literal["Note"]
    spec: NoteSpec
    status: NoteStatus | None = None


def references(note: Note) -> tuple[Reference, ...]:
    ref = note.spec.pool_ref
    return (Reference(note.key.beside("ModelPool", ref.name), ("spec", "poolRef", "name")),) if ref else ()


def decide(note: Note, seen: Observed, context: Context) -> Outcome:
    conditions = ConditionSet.begin(seen)
    conditions.finish(ConditionValue.true(Reason.RESOLVED), (ConditionType.ACCEPTED, ConditionType.RESOLVED_REFS))
    metadata = {"name": note.name, "namespace": note.namespace, "ownerReferences": [owner_reference(note)]}
    text = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": note.spec.text}}
    status = conditions.status(NoteStatus, note, context, length=len(note.spec.text))
    return Outcome(status, manifests=(drift.sealed(text),))


NOTE = Kind(
    Note,
    observe=observe_basics,
    decide=decide,
    references=references,
    children=(Child(CONFIG_MAPS, "holds the text of notes"),),
)
WITH_NOTES = KindTable((*KINDS, NOTE))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    settings = OperatorSettings.from_environment(os.environ)
    asyncio.run(operate(settings, find_credentials(os.environ), os.environ, WITH_NOTES))
