"""Plain text, and how bytes become characters."""

import codecs
import re

from pilotfish_retrieval.blocks import Block, Extracted, Kind, Unreadable

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\S\n]*\S[^\n]*)*")


def decode(content: bytes) -> str:
    """The characters, with lines that end in a line feed.

    The encoding is that of the byte order mark, otherwise UTF-8, otherwise Windows-1252. Raises Unreadable for bytes
    that are no text.
    """
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is None and b"\0" in content:
        raise Unreadable("it is not text: it contains zero bytes")
    try:
        text = content.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        text = content.decode(encoding or "cp1252", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(text: str) -> Extracted:
    """One block for each paragraph: lines without an empty line between them."""
    blocks = [Block(Kind.PROSE, *found.span()) for found in PARAGRAPH.finditer(text)]
    return Extracted(text, blocks)
