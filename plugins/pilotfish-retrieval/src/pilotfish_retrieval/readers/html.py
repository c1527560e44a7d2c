"""HTML: the main part of a page, without navigation, scripts and forms."""

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pilotfish_retrieval.blocks import Extracted, Headings, Kind, TextBuilder

SKIPPED = "script style noscript template nav header footer aside form button select svg iframe object canvas head"
LEFT_OUT = frozenset(SKIPPED.split())
HEADING_LEVELS = {f"h{level}": level for level in range(1, 7)}
PHRASING = (
    "-text a abbr b bdi bdo big br cite code data dfn em font i img ins kbd label mark q s samp small span strong sub "
    "sup time tt u var wbr"
)
INLINE = frozenset(PHRASING.split())
DEEPEST = 200
"""Elements nested deeper are read as one block."""


def read_html(text: str) -> Extracted:
    """The text of the page's <main> or <article>, otherwise of its <body>. Tables are written as in Markdown."""
    tree = LexborHTMLParser(text)
    root = tree.css_first("main, [role=main], article") or tree.body
    page = _Page()
    title = tree.css_first("title")
    if title is not None:
        page.headings.enter(0, title.text())
    if root is not None:
        page.walk(root)
    return page.builder.built()


class _Page:
    def __init__(self) -> None:
        self.builder = TextBuilder()
        self.headings = Headings()

    def walk(self, node: LexborNode, depth: int = 0) -> None:
        """Add the blocks of an element's children."""
        inline: list[str] = []
        for child in node.iter(include_text=True):
            tag = child.tag or ""
            if tag in LEFT_OUT:
                continue
            if tag in INLINE:
                inline.append("\n" if tag == "br" else child.text())
                continue
            self._end_paragraph(inline)
            self._add(child, tag, depth)
        self._end_paragraph(inline)

    def _end_paragraph(self, inline: list[str]) -> None:
        lines = (" ".join(line.split()) for line in "".join(inline).split("\n"))
        self.builder.add(Kind.PROSE, "\n".join(line for line in lines if line), self.headings.path)
        inline.clear()

    def _add(self, node: LexborNode, tag: str, depth: int) -> None:
        if tag in HEADING_LEVELS:
            self.headings.enter(HEADING_LEVELS[tag], node.text())
        elif tag == "pre":
            self.builder.add(Kind.CODE, node.text().strip("\n"), self.headings.path)
        elif tag == "table":
            self.builder.add_table([_cells(row) for row in node.css("tr")], self.headings.path)
        elif tag in {"ul", "ol"} and not node.css_first("pre, table"):
            items = (" ".join(item.text(separator=" ").split()) for item in node.iter())
            self.builder.add(Kind.PROSE, "\n".join(f"- {item}" for item in items if item), self.headings.path)
        elif depth >= DEEPEST:
            self.builder.add(Kind.PROSE, " ".join(node.text(separator=" ").split()), self.headings.path)
        else:
            self.walk(node, depth + 1)


def _cells(row: LexborNode) -> list[str]:
    return [cell.text(separator=" ") for cell in row.iter() if cell.tag in {"td", "th"}]
