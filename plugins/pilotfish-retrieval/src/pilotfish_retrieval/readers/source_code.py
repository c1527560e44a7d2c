"""Source code and configuration files, of any language."""

import re

from pilotfish_retrieval.blocks import LONGEST_HEADING, Block, Extracted, Kind

DEFINITION = re.compile(
    r"^(?:export |public |private |protected |static |abstract |final |async |pub(?:\([a-z]+\))? |default )*"
    r"(?:def|class|func|function|fn|interface|struct|enum|trait|impl|type|module|namespace|CREATE|create)\b.*",
    re.MULTILINE,
)


def read_code(text: str) -> Extracted:
    """One block from each definition that is not indented to the next; its first line is its heading."""
    found = list(DEFINITION.finditer(text))
    starts = [0, *(each.start() for each in found)]
    headings = [(), *((each.group().strip().rstrip("{:").strip()[:LONGEST_HEADING],) for each in found)]
    blocks = []
    for start, end, path in zip(starts, [*starts[1:], len(text)], headings, strict=True):
        whole = text[start:end]
        if whole.strip():
            blocks.append(Block(Kind.CODE, start, start + len(whole.rstrip()), path))
    return Extracted(text, blocks)
