"""Passages keep the document's structure, and their spans point at their text."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish_retrieval.chunking import UNCUT, passages
from pilotfish_retrieval.config import Config
from pilotfish_retrieval.readers import read

LIMIT = 60
MARKS = [
    "# One",
    "## Two",
    "",
    "",
    "| a | b |",
    "|---|---|",
    "| 1 | 2 |",
    "```",
    "- item",
    "    indented",
    "> quote",
    "===",
]
LONG = [
    "A sentence. Another one! And 3.5 more?",
    "word " * 80,
    "x" * 700,
    "é漢字" * 60,
    "---",
    "<!-- no -->",
    "\t\ttab",
]
LINES = st.sampled_from(MARKS + LONG)


@given(st.lists(LINES, max_size=40).map("\n".join), st.sampled_from(["a.md", "a.txt", "a.py"]))
def test_spans_cover_the_blocks_in_order_and_no_passage_is_too_large(text, name):
    document = read(name, text.encode(), Config())
    found = list(passages(document, LIMIT))
    assert all(passage.text.endswith(document.text[passage.start : passage.end]) for passage in found)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(estimate_tokens(passage.text) <= LIMIT * UNCUT + 1 for passage in found)
    kept = "".join(document.text[passage.start : passage.end] for passage in found)
    blocks = "".join(document.text[block.start : block.end] for block in document.blocks)
    assert "".join(kept.split()) == "".join(blocks.split())


def test_paragraphs_are_joined_up_to_the_limit_and_never_across_a_heading():
    text = "# A\n\none one\n\ntwo two\n\n# B\n\nthree\n"
    found = list(passages(read("a.md", text.encode(), Config()), LIMIT))
    assert [(passage.headings, passage.text) for passage in found] == [
        (("A",), "one one\n\ntwo two"),
        (("B",), "three"),
    ]
    assert found[0].searched == "A\none one\n\ntwo two"


def test_long_prose_is_cut_between_sentences():
    text = " ".join(f"Sentence number {number} ends here." for number in range(40))
    found = list(passages(read("a.txt", text.encode(), Config()), LIMIT))
    assert len(found) > 5
    assert all(passage.text.startswith("Sentence") and passage.text.endswith("here.") for passage in found)


def test_a_line_of_ten_megabytes_is_cut():
    found = list(passages(read("a.txt", b"word " * 2_000_000, Config()), 250))
    assert max(estimate_tokens(passage.text) for passage in found) <= 250
