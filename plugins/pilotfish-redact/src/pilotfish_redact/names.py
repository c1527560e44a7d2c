"""Names of persons, as a pool lists them: no list of names is complete, and most names are words too."""

import re
from collections.abc import Iterable, Iterator

from pilotfish.plugin_api.models import Models, completions
from pilotfish_redact.spans import Kind, Span

ROLE = "names"
CHUNK = 3000
"""Characters that the pool reads at once."""
SHORTEST = 3
"""Characters from which a part of a name is masked where it stands alone."""
MAX_TOKENS = 300
PROMPT = """\
List the names of all persons in the document, one a line, exactly as they are written there.
Write nothing else. If there is no name, write NONE.

Document:
{text}"""
MARKER = re.compile(r"^\s*(?:[-*•]|\d+[.)])?\s*|\s*$")


async def names_in(documents: Iterable[str], models: Models) -> frozenset[str]:
    """The names in all documents, and the parts of names. Raises RequestError where the pool does not answer."""
    names: set[str] = set()
    for document in documents:
        for chunk in _chunks(document):
            asked = [{"role": "user", "content": PROMPT.format(text=chunk)}]
            answer = await models.complete(ROLE, asked, temperature=0, max_tokens=MAX_TOKENS)
            for line in completions(answer)[0].splitlines():
                names.update(_parts(MARKER.sub("", line), chunk))
    return frozenset(names)


def name_spans(text: str, names: frozenset[str]) -> Iterator[Span]:
    """Where the names are in a text, as whole words."""
    if names:
        alternatives = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        for found in re.finditer(rf"(?<!\w)(?:{alternatives})(?!\w)", text):
            yield Span(found.start(), found.end(), Kind.NAME)


def _parts(name: str, document: str) -> Iterator[str]:
    """A name and its parts. Nothing where the document does not have it, or it begins with a small letter."""
    if name and name in document and not name[0].islower() and any(map(str.isalpha, name)):
        yield name
        yield from (part for part in name.split() if len(part) >= SHORTEST and not part[0].islower())


def _chunks(document: str) -> Iterator[str]:
    """The document in parts that end at white space, if there is any."""
    place = 0
    while place < len(document):
        end = place + CHUNK
        if end < len(document):
            end = max(document.rfind(space, place + 1, end) for space in " \n")
            end = end if end > place else place + CHUNK
        yield document[place:end]
        place = end
