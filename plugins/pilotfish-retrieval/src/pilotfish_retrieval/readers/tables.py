"""Tables: CSV, and Parquet."""

import csv
import io
from collections.abc import Sequence
from itertools import islice
from typing import Any

from pilotfish_retrieval.blocks import Extracted, TextBuilder, Unreadable

LONGEST_SAMPLE = 10_000


def read_csv(text: str, max_rows: int) -> Extracted:
    """The rows as one table, whose first row names the columns. Raises Unreadable for text that is no CSV."""
    try:
        dialect: Any = csv.Sniffer().sniff(text[:LONGEST_SAMPLE], ",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = list(islice(csv.reader(io.StringIO(text, newline=""), dialect), max_rows + 1))
    except csv.Error as error:
        raise Unreadable(f"it is not CSV: {error}") from error
    return _table(rows)


def read_parquet(content: bytes, max_rows: int) -> Extracted:
    """The rows as one table. Raises Unreadable where pyarrow is not installed, or the content is no Parquet."""
    try:
        import pyarrow  # noqa: PLC0415 - the extra `tables`
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise Unreadable("Parquet needs the extra: pip install 'pilotfish-retrieval[tables]'") from error
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        batches = file.iter_batches(batch_size=min(max_rows, 10_000))
        rows = (row.values() for batch in batches for row in batch.to_pylist())
        return _table([file.schema_arrow.names, *([_shown(value) for value in row] for row in islice(rows, max_rows))])
    except (pyarrow.ArrowException, OSError) as error:
        raise Unreadable(f"it is not Parquet: {error}") from error


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _table(rows: Sequence[Sequence[str]]) -> Extracted:
    builder = TextBuilder()
    builder.add_table([row for row in rows if any(cell.strip() for cell in row)], ())
    return builder.built()
