"""Every construct of a model reaches the schema, and a construct that the schema cannot express is an error."""

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from pilotfish.api.common import Model, Opaque, Rule, list_map
from pilotfish.crdgen.structural import UnknownConstruct, structural_schema

Name = Annotated[str, Field(max_length=8)]


class Item(Model):
    """One of several."""

    name: Name
    """A short name."""
    above: Annotated[int, Field(gt=4)] = 5
    """A number above 4.
    - five: the default.
    """


class Whole(Model):
    """All constructs that a model may use,
    over two lines.
    """

    rules: ClassVar = (
        Rule("say it", "has(self.maybe)", lambda _: True, field=("items", "0")),
        Rule("named", "true", lambda _: True, field=("metadata", "name")),
    )
    fixed: Literal["only"]
    """The one value."""
    items: Annotated[tuple[Item, ...], *list_map("name", maximum=3)] = ()
    """The items."""
    maybe: Item | None = None
    """A field's docstring takes precedence over the docstring of its type."""
    counts: Annotated[dict[str, Name], Field(max_length=2)] = {}
    """Counts by name."""
    args: Opaque = {}
    """Any object."""


ITEM = {
    "type": "object",
    "description": "One of several.",
    "properties": {
        "name": {"type": "string", "description": "A short name.", "maxLength": 8},
        "above": {
            "type": "integer",
            "description": "A number above 4.\n- five: the default.\n\nDefaults to 5.",
            "minimum": 5,
            "default": 5,
        },
    },
    "required": ["name"],
}


def test_every_construct_becomes_a_structural_schema() -> None:
    assert structural_schema(Whole) == {
        "type": "object",
        "description": "All constructs that a model may use, over two lines.",
        "required": ["fixed"],
        "x-kubernetes-validations": [
            {"rule": "has(self.maybe)", "message": "say it", "fieldPath": ".items.0"},
            {"rule": "true", "message": "named"},
        ],
        "properties": {
            "fixed": {"type": "string", "description": "The one value.", "enum": ["only"]},
            "items": {
                "type": "array",
                "description": "The items.",
                "maxItems": 3,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": ITEM,
            },
            "maybe": ITEM | {"description": "A field's docstring takes precedence over the docstring of its type."},
            "counts": {
                "type": "object",
                "description": "Counts by name.",
                "maxProperties": 2,
                "additionalProperties": {"type": "string", "maxLength": 8},
            },
            "args": {"type": "object", "description": "Any object.", "x-kubernetes-preserve-unknown-fields": True},
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
        (dict[str, Any], "values of one type, or be Opaque"),
        (Any, "without a type"),
        (Annotated[int, Field(multiple_of=3)], "multipleOf"),
        (Annotated[int, Field(lt=3)], "exclusiveMaximum"),
        (tuple[Name, Name], "prefixItems"),
        (Name, "needs a docstring"),
    ],
)
def test_an_inexpressible_construct_is_an_error_that_names_the_field(field: Any, complaint: str) -> None:
    model = type("Bad", (Model,), {"__annotations__": {"some_field": field}, "__module__": __name__})
    with pytest.raises(UnknownConstruct, match=complaint) as caught:
        structural_schema(model)
    assert str(caught.value).startswith(".someField: ")
