"""What a model says reaches the schema, and what a schema cannot say is an error."""

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from pilotfish.api.common import Model, Opaque, Rule, list_map
from pilotfish.crdgen.structural import UnknownConstruct, structural_schema

Name = Annotated[str, Field(max_length=8)]


class Item(Model):
    """One of several."""

    name: Name
    above: Annotated[int, Field(gt=4)] = 5


class Whole(Model):
    """Everything that a model may say."""

    rules: ClassVar = (
        Rule("say it", "has(self.maybe)", lambda _: True, field=("items", "0")),
        Rule("named", "true", lambda _: True, field=("metadata", "name")),
    )
    fixed: Literal["only"]
    items: Annotated[tuple[Item, ...], *list_map("name", maximum=3)] = ()
    maybe: Item | None = Field(None, description="its own words")
    counts: Annotated[dict[str, Name], Field(max_length=2)] = {}
    args: Opaque = {}


ITEM = {
    "type": "object",
    "description": "One of several.",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "above": {"type": "integer", "minimum": 5, "default": 5},
    },
    "required": ["name"],
}


def test_every_construct_is_said_in_the_way_of_an_api_server() -> None:
    assert structural_schema(Whole) == {
        "type": "object",
        "description": "Everything that a model may say.",
        "required": ["fixed"],
        "x-kubernetes-validations": [
            {"rule": "has(self.maybe)", "message": "say it", "fieldPath": ".items.0"},
            {"rule": "true", "message": "named"},
        ],
        "properties": {
            "fixed": {"type": "string", "enum": ["only"]},
            "items": {
                "type": "array",
                "maxItems": 3,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": ITEM,
            },
            "maybe": ITEM | {"description": "its own words"},
            "counts": {
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 8},
            },
            "args": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }


@pytest.mark.parametrize(
    ("field", "complaint"),
    [
        (str, "a string needs maxLength"),
        (float, "no fields of type number"),
        (bool, "no fields of type boolean"),
        (Name | Annotated[int, Field(ge=0)], "one type"),
        (tuple[Name, ...], "a list needs maxItems"),
        (Annotated[tuple[Name, ...], Field(max_length=2)], "x-kubernetes-list-type"),
        (dict[str, Name], "a map needs maxProperties"),
        (dict[str, Any], "values of one type, or is Opaque"),
        (Any, "without a type"),
        (Annotated[int, Field(multiple_of=3)], "multipleOf"),
        (Annotated[int, Field(lt=3)], "exclusiveMaximum"),
        (tuple[Name, Name], "prefixItems"),
    ],
)
def test_what_a_schema_cannot_say_is_an_error_that_names_the_field(field: Any, complaint: str) -> None:
    model = type("Bad", (Model,), {"__annotations__": {"some_field": field}, "__module__": __name__})
    with pytest.raises(UnknownConstruct, match=complaint) as caught:
        structural_schema(model)
    assert str(caught.value).startswith(".someField: ")
