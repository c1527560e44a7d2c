"""Markdown (CommonMark, with tables)."""

import re
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pilotfish_retrieval.blocks import Block, Extracted, Headings, Kind

FRONT_MATTER = re.compile(r"\A---\n.*?\n(?:---|\.\.\.)(?:\n|\Z)", re.DOTALL)
KINDS = {"fence": Kind.CODE, "code_block": Kind.CODE, "table_open": Kind.TABLE}
TABLE_HEADER_LINES = 2


def read_markdown(text: str) -> Extracted:
    """The blocks of the outermost level. A heading belongs to the path of what follows, and to no block itself."""
    front = FRONT_MATTER.match(text)
    skipped = text[: front.end()].count("\n") if front else 0
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    lines = text.split("\n")
    tokens = parser.parse("\n".join(lines[skipped:]))
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    headings, blocks = Headings(), []
    for place, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0:
            continue
        first, after = token.map[0] + skipped, token.map[1] + skipped
        if token.type == "heading_open":
            headings.enter(int(token.tag[1:]), tokens[place + 1].content)
        elif token.type != "hr" and not _is_comment(token):
            blocks.append(_block(token, (first, after), (text, starts), headings.path))
    return Extracted(text, [block for block in blocks if block.end > block.start])


def _is_comment(token: Token) -> bool:
    return token.type == "html_block" and token.content.lstrip().startswith("<!--")


def _block(token: Token, lines: tuple[int, int], where: tuple[str, list[int]], path: tuple[str, ...]) -> Block:
    (first, after), (text, starts) = lines, where
    start, end = starts[first], min(starts[after], len(text))
    end = start + len(text[start:end].rstrip())
    kind = KINDS.get(token.type, Kind.PROSE)
    header = min(starts[first + TABLE_HEADER_LINES], end) - start if kind is Kind.TABLE else 0
    return Block(kind, start, end, path, header)
