"""What every kind shares: the strict base model, references, unions, rules, and the types of single fields.

A docstring below a field is its description in the CRD, which `kubectl explain` prints. Every field needs one.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

GROUP = "pilotfish.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FieldPath = tuple[str | int, ...]
"""Where a field is in a manifest: `("spec", "stages", 0, "name")`."""


@dataclass(frozen=True)
class Rule:
    """A constraint over several fields, as CEL for the API server (`cel`) and as a Python predicate (`holds`).

    `field` is the path of the field that a user would change, relative to the object that declares the rule.
    """

    message: str
    cel: str
    holds: Callable[[Any], bool]
    field: tuple[str, ...] = ()


def exactly_one_of(*fields: str) -> Rule:
    """The rule that exactly one of `fields` (names as in a manifest) is set."""
    counted = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in fields)
    return Rule(
        message=f"exactly one of {', '.join(fields)} must be set",
        cel=f"{counted} == 1",
        holds=lambda model: len(model.wire_fields_set() & set(fields)) == 1,
    )


def union_rule(members: dict[str, str]) -> Rule:
    """The rule of a union: only the member that belongs to `type` is set. `members` maps types to fields."""
    only = " : ".join(
        f"self.type == '{kind}' ? has(self.{member})"
        + "".join(f" && !has(self.{other})" for other in members.values() if other != member)
        for kind, member in members.items()
    )
    return Rule(
        message="set the field that belongs to type, and no other of these: "
        + ", ".join(f"{member} for type {kind}" for kind, member in members.items()),
        cel=f"{only} : true",
        holds=lambda model: model.wire_fields_set() & set(members.values()) == {members[model.type]},
    )


class Model(BaseModel):
    """Base class of every object in a manifest: frozen, with camelCase names, without unknown fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, use_enum_values=False
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    def wire_fields_set(self) -> set[str]:
        """The fields that have a value, by their names in a manifest."""
        return {info.alias or name for name, info in type(self).model_fields.items() if getattr(self, name) is not None}

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        broken = [rule for rule in self.rules if not rule.holds(self)]
        if broken:
            raise PydanticCustomError(
                "rules",
                "{message}",
                {
                    "message": "; ".join(rule.message for rule in broken),
                    "broken": [(rule.field, rule.message) for rule in broken],
                },
            )
        return self

    def to_manifest(self) -> dict[str, Any]:
        """The object as it is written in a manifest, without defaults."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _unique(values: Sequence[Any], key: Callable[[Any], Hashable], named: str) -> None:
    seen: set[Hashable] = set()
    for value in values:
        if key(value) in seen:
            raise PydanticCustomError(
                "duplicate", "{named} {value} is listed twice", {"named": named, "value": repr(key(value))}
            )
        seen.add(key(value))


def list_map(key: str, *, maximum: int, minimum: int = 0) -> Any:
    """Annotations of a list whose items are identified by their field `key`."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        _unique(values, lambda item: getattr(item, key), key)
        return values

    return (
        Field(
            min_length=minimum,
            max_length=maximum,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [to_camel(key)]},
        ),
        AfterValidator(check),
    )


def list_set(*, maximum: int, minimum: int = 0) -> Any:
    """Annotations of a list of unique scalars."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        _unique(values, lambda item: item, "value")
        return values

    return (
        Field(min_length=minimum, max_length=maximum, json_schema_extra={"x-kubernetes-list-type": "set"}),
        AfterValidator(check),
    )


def ordered_list(*, maximum: int, minimum: int = 0) -> Any:
    """Annotation of a list whose order matters."""
    return Field(min_length=minimum, max_length=maximum, json_schema_extra={"x-kubernetes-list-type": "atomic"})


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
URI = r"^[a-z][a-z0-9+.-]*://.+$"
HTTP_URL = r"^https?://[^\s/?#]+[^\s?#]*$"
CURRENCY = r"^[A-Z]{3}$"
DECIMAL = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?$"
CRON = (
    r"^(\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,?/LW-]+)"
    r" (\*|[0-9A-Za-z*,/-]+) (\*|[0-9A-Za-z*,?/L#-]+)$"
)
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$"

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
Label = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]
AnnotationValue = Annotated[str, Field(max_length=65_536)]
PoolName = Annotated[str, Field(min_length=1, max_length=40, pattern=DNS_LABEL)]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Uri = Annotated[str, Field(max_length=2048, pattern=URI)]
HttpUrl = Annotated[str, Field(max_length=2048, pattern=HTTP_URL)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]
DecimalString = Annotated[str, Field(max_length=24, pattern=DECIMAL)]
Currency = Annotated[str, Field(max_length=3, pattern=CURRENCY)]
Quantity = Annotated[str, Field(max_length=32, pattern=QUANTITY)]
Permille = Annotated[int, Field(strict=True, ge=0, le=1000)]
EntryPointName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""An object with any fields, whose schema belongs to another program: an engine's arguments, a plugin's config."""


class LocalObjectRef(Model):
    """A reference to an object in the same namespace."""

    name: ObjectName
    """The name of the object."""


class PoolRef(Model):
    """A reference to a ModelPool in the same namespace."""

    name: PoolName
    """The name of the ModelPool."""


class RolePoolRef(Model):
    """A reference to a ModelPool in the same namespace, and the role that the pool has for a scorer or plugin."""

    role: Label
    """The role of the pool. The scorer or plugin defines which roles exist."""
    name: PoolName
    """The name of the ModelPool."""


class SecretKeyRef(Model):
    """A reference to a key of a Secret in the same namespace."""

    name: ObjectName
    """The name of the Secret."""
    key: SecretKey
    """The key in the Secret's data."""


class ConfigMapRef(Model):
    """A reference to a ConfigMap in the same namespace."""

    name: ObjectName
    """The name of the ConfigMap."""


class ConfigMapKeyRef(Model):
    """A reference to a key of a ConfigMap in the same namespace."""

    name: ObjectName
    """The name of the ConfigMap."""
    key: SecretKey
    """The key in the ConfigMap's data or binaryData."""


class Metadata(Model):
    """The fields of a Kubernetes object's metadata that a manifest may set or that the API server adds."""

    name: ObjectName
    namespace: Label | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generate_name: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    generation: int | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[dict[str, Any], ...] = ()
    managed_fields: tuple[dict[str, Any], ...] = ()
    self_link: str | None = None
