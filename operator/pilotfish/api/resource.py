"""What the models of all kinds share: metadata, status, key, and how the API server lists objects of the kind."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pilotfish.api.common import Metadata, Model
from pilotfish.api.status import Status
from pilotfish.base.keys import DEFAULT_NAMESPACE, Key


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. Columns of priority 1 are shown with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True)
class Definition:
    """What the CustomResourceDefinition of a kind has beside its schema."""

    plural: str
    short_name: str
    columns: tuple[Column, ...]
    scale: bool = False
    """Whether the kind has the scale subresource, as `kubectl scale` needs."""


def _condition(name: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{name}")].{field}'


READY_COLUMNS = (
    Column("Ready", _condition("Ready", "status")),
    Column("Reason", _condition("Ready", "reason")),
)
AGE_COLUMN = Column("Age", ".metadata.creationTimestamp", "date")
MESSAGE_COLUMN = Column("Message", _condition("Ready", "message"), priority=1)


class Resource(Model):
    """Base of the models of all kinds."""

    definition: ClassVar[Definition]
    api_version: Literal["pilotfish.dev/v1alpha1"]
    kind: str
    metadata: Metadata
    spec: Any
    status: Status | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace, `default` where its manifest names none."""
        return self.metadata.namespace or DEFAULT_NAMESPACE

    @property
    def key(self) -> Key:
        """The object's key."""
        return Key(self.kind, self.namespace, self.name)
