"""PDF: the text of each page. Scanned pages have none."""

import io
import zlib

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from pilotfish_retrieval.blocks import Extracted, Kind, TextBuilder, Unreadable

FAULTS = (
    PyPdfError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What pypdf raises for files that are not correct."""


def read_pdf(content: bytes) -> Extracted:
    """One block for each page, below the document's title and the page's number. Raises Unreadable for a file that is
    damaged, or that needs a password.
    """
    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("it is a PDF that needs a password")
        title = reader.metadata.title if reader.metadata else None
        builder = TextBuilder()
        for number, page in enumerate(reader.pages, 1):
            path = (str(title), f"page {number}") if title else (f"page {number}",)
            builder.add(Kind.PROSE, page.extract_text().strip(), path)
    except FAULTS as error:
        raise Unreadable(f"it is not a correct PDF: {error}") from error
    return builder.built()
