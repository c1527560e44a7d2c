"""Readers: from the bytes of a document to its text and blocks, by the ending of its name.

A reader raises Unreadable for content that it cannot read. It does no I/O.
"""

from collections.abc import Callable
from pathlib import PurePosixPath

from pilotfish_retrieval.blocks import Extracted, Unreadable
from pilotfish_retrieval.config import Config
from pilotfish_retrieval.readers.html import read_html
from pilotfish_retrieval.readers.markdown import read_markdown
from pilotfish_retrieval.readers.pdf import read_pdf
from pilotfish_retrieval.readers.source_code import read_code
from pilotfish_retrieval.readers.tables import read_csv, read_parquet
from pilotfish_retrieval.readers.text import decode, read_text

MARKDOWN = frozenset({".md", ".markdown", ".mdx"})
HTML = frozenset({".html", ".htm", ".xhtml"})
CODE_SUFFIXES = (
    ".c .cc .cpp .cs .css .go .h .hpp .ini .java .js .json .jsx .kt .lua .php .pl .proto .py .r .rb .rs .scala .sh "
    ".sql .swift .tf .toml .ts .tsx .xml .yaml .yml"
)
CODE = frozenset(CODE_SUFFIXES.split())


def read(path: str, content: bytes, config: Config) -> Extracted:
    """The document. Raises Unreadable for a format without a reader, or content that is not of its format."""
    if len(content) > config.max_document_megabytes * 1_000_000:
        raise Unreadable(f"it is larger than maxDocumentMegabytes, {config.max_document_megabytes}")
    return _reader(PurePosixPath(path).suffix.lower(), content, config)()


def _reader(suffix: str, content: bytes, config: Config) -> Callable[[], Extracted]:
    if suffix == ".pdf" or content.startswith(b"%PDF-"):
        return lambda: read_pdf(content)
    if suffix == ".parquet":
        return lambda: read_parquet(content, config.max_table_rows)
    if suffix in {".csv", ".tsv"}:
        return lambda: read_csv(decode(content), config.max_table_rows)
    if suffix in HTML or content[:1000].lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        return lambda: read_html(decode(content))
    if suffix in MARKDOWN:
        return lambda: read_markdown(decode(content))
    if suffix in CODE:
        return lambda: read_code(decode(content))
    return lambda: read_text(decode(content))
