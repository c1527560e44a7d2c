"""Documents of each format, correct and broken."""

import io

import pyarrow
import pytest
from pyarrow import parquet

from pilotfish_retrieval.blocks import Kind, Unreadable
from pilotfish_retrieval.chunking import passages
from pilotfish_retrieval.config import Config
from pilotfish_retrieval.readers import read
from pilotfish_retrieval.readers.text import decode

MARKDOWN = """---
owner: ann
---
# Travel

Book early.

## Meals

| city | limit |
|---|---|
| Rome | 40 |

```python
# not a heading

limit = 40
```

Setext
------
- one

  two
"""


def shown(document):
    return [(block.headings, document.text[block.start : block.end]) for block in document.blocks]


def pdf(*pages):
    """A minimal file with one line on each page."""
    objects = ["<</Type/Catalog/Pages 2 0 R>>", "", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for line in pages:
        stream = f"BT /F1 12 Tf 72 700 Td ({line}) Tj ET"
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
        kids.append(f"{len(objects) + 1} 0 R")
        resources = "/Resources<</Font<</F1 3 0 R>>>>/MediaBox[0 0 600 800]"
        objects.append(f"<</Type/Page/Parent 2 0 R/Contents {len(objects)} 0 R{resources}>>")
    objects[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {len(pages)}>>"
    written, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(written))
        written += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(written)}\n%%EOF"
    return (written + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}").encode("latin-1")


def test_markdown_keeps_the_path_of_headings_and_leaves_code_and_tables_whole():
    document = read("a.md", MARKDOWN.encode(), Config())
    assert shown(document) == [
        (("Travel",), "Book early."),
        (("Travel", "Meals"), "| city | limit |\n|---|---|\n| Rome | 40 |"),
        (("Travel", "Meals"), "```python\n# not a heading\n\nlimit = 40\n```"),
        (("Travel", "Setext"), "- one\n\n  two"),
    ]
    assert [block.kind for block in document.blocks] == [Kind.PROSE, Kind.TABLE, Kind.CODE, Kind.PROSE]


def test_html_reads_the_main_part_without_navigation_and_scripts():
    page = """<html><head><title>Handbook</title><script>var x = 1</script></head><body><nav>Home</nav>
    <main><h1>Leave</h1><p>Thirty <b>days</b><br>a year.</p><div>Loose <i>text</i><p>Inner</p></div>
    <table><tr><th>kind</th><th>days</th></tr><tr><td>sick</td><td>a|b</td></tr></table>
    <ul><li>one<li>two</ul><pre>a\n  b</pre></main><footer>(c)</footer></body></html>"""
    assert shown(read("leave.html", page.encode(), Config())) == [
        (("Handbook", "Leave"), "Thirty days\na year."),
        (("Handbook", "Leave"), "Loose text"),
        (("Handbook", "Leave"), "Inner"),
        (("Handbook", "Leave"), "| kind | days |\n| --- | --- |\n| sick | a\\|b |"),
        (("Handbook", "Leave"), "- one\n- two"),
        (("Handbook", "Leave"), "a\n  b"),
    ]


def test_a_page_is_the_heading_in_a_pdf():
    document = read("scan", pdf("First words", "Second words"), Config())
    assert shown(document) == [(("page 1",), "First words"), (("page 2",), "Second words")]


def test_each_definition_of_source_code_is_a_block():
    code = "import os\n\n\ndef first(a):\n    return a\n\n\nclass Second:\n    def inner(self): ...\n"
    assert shown(read("a.py", code.encode(), Config())) == [
        ((), "import os"),
        (("def first(a)",), "def first(a):\n    return a"),
        (("class Second",), "class Second:\n    def inner(self): ..."),
    ]


def test_every_passage_of_a_long_csv_repeats_the_header():
    rows = "\n".join(f"{number};name {number}" for number in range(500))
    found = list(passages(read("a.csv", f"id;name\n{rows}".encode(), Config(max_table_rows=400)), 100))
    assert len(found) > 10
    assert all(passage.text.startswith("| id | name |\n| --- | --- |\n") for passage in found)
    assert sum(passage.text.count("| name ") for passage in found) == 400 + len(found)
    assert "name 399" in found[-1].text


def test_parquet_is_read_as_a_table():
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"city": ["Rome", None, "Oslo"], "limit": [40, 50, 60]}), file)
    document = read("limits.parquet", file.getvalue(), Config(max_table_rows=2))
    assert shown(document) == [((), "| city | limit |\n| --- | --- |\n| Rome | 40 |\n|  | 50 |")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\ufeffa\r\nb\rc".encode(), "a\nb\nc"),
        ("größe".encode("utf-16"), "größe"),
        ("größe".encode("cp1252"), "größe"),
        (b"cut \xe2\xa2", "cut â¢"),
    ],
)
def test_bytes_of_any_encoding_become_characters(content, text):
    assert decode(content) == text


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("a.pdf", b"%PDF-1.4\n" + b"\x01\x02" * 500, "not a correct PDF"),
        ("a.pdf", pdf("text")[:200], "not a correct PDF"),
        ("a.pdf", b"", "not a correct PDF"),
        ("a.png", b"\x89PNG\r\n\0\0\0", "it contains zero bytes"),
        ("a.parquet", b"PAR1 is not enough", "Parquet"),
        ("a.txt", b"x" * 1_000_001, "larger than maxDocumentMegabytes, 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(path, content, reason):
    with pytest.raises(Unreadable, match=reason):
        read(path, content, Config(max_document_megabytes=1))


def test_deeply_nested_html_is_read():
    assert "core" in read("a.html", b"<html>" + b"<div>" * 5000 + b"core", Config()).text
