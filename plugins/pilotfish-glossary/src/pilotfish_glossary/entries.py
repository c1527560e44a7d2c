"""The entries of a glossary."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pilotfish.api.common import Model

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


class Case(StrEnum):
    """Whether a name and what was written must agree in case.

    AUTO: only names without a lower-case letter must, such as acronyms: "IT" is not "it".
    """

    AUTO = "Auto"
    EXACT = "Exact"
    IGNORE = "Ignore"


class Entry(Model):
    """A term with its definition."""

    term: Name
    """The preferred name."""
    definition: Annotated[str, Field(min_length=1, max_length=4000, pattern=r"\S")]
    """What the term means, in a sentence or two."""
    aliases: Annotated[tuple[Name, ...], Field(max_length=50)] = ()
    """Other names of the same: abbreviations, inflected forms, old names."""
    case: Case = Case.AUTO
    """Whether names must agree in case with what was written."""

    @property
    def names(self) -> tuple[str, ...]:
        """The term and its aliases."""
        return (self.term, *self.aliases)
