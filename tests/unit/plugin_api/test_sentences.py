"""Sentences of an answer, however it is cut into pushes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.plugin_api.sentences import Sentence, SentenceSplitter

PARTS = st.sampled_from(
    ["a", "Bob", "e.g.", "Dr.", "3.14", "1.", "12)", ".", "!", "?", "…", '"', ")", "。", " ", "  ", "\n", "\n\n",
     "- ", "# ", "| a |", "```", "````", "~~~", "`", "py", "word", "U.S.", "\t", "x" * 30]
)  # fmt: skip
TEXTS = st.lists(PARTS, max_size=60).map("".join) | st.text(max_size=200)


def sentences(*pushes: str, longest: int = 2000) -> list[Sentence]:
    splitter = SentenceSplitter(longest)
    return [*(each for text in pushes for each in splitter.push(text)), *splitter.end()]


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 300), max_size=12), st.integers(4, 60))
def test_sentences_joined_are_the_text_and_do_not_depend_on_the_pushes(text: str, cuts: list[int], longest: int):
    ends = sorted({cut for cut in cuts if cut < len(text)})
    pushes = [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
    whole = sentences(text, longest=longest)
    assert "".join(each.text for each in whole) == text
    assert all(0 < len(each.text) <= longest for each in whole)
    assert sentences(*pushes, longest=longest) == whole
    assert sentences(*text, longest=longest) == whole


@pytest.mark.parametrize(
    "expected",
    [
        ["It is 3.5 m, e.g. five steps. ", "Dr. Smith (U.S. Army) left at 5. ", "He came back!"],
        ["He asked: “Why?” ", "No answer came. ", "Wait... what? ", "Yes."],
        ["Steps:\n", "1. Open it.\n", "2. Close it, see Fig. 3 for\n   the hinge.\n\n", "Done."],
        ["# Title v. 2\n", "The text goes\non in a second line. ", "End."],
        ["| a. B | c |\n", "| --- | --- |\n", "| 1. D | 2 |\n\n", "After."],
        ["早上好。", "你好。", "再见"],
        ["“Really?” he said. ", "J. R. R. Tolkien wrote it."],
        ["i agree . ", "they serve it ."],
        ["Use ```x. Y``` inline. ", "Then go."],
    ],
)
def test_prose(expected: list[str]):
    assert [each.text for each in sentences("".join(expected))] == expected
    assert not any(each.code for each in sentences("".join(expected)))


def test_lines_of_fenced_code_are_never_sentences():
    text = "Run this.\n\n```py\nx = 1. # A. B\n\n# `no` end\n```\nIt works. Fine.\n~~~~\n~~~\nopen"
    assert [(each.text, each.code) for each in sentences(text)] == [
        ("Run this.\n\n", False),
        ("```py\n", True),
        ("x = 1. # A. B\n", True),
        ("\n", True),
        ("# `no` end\n", True),
        ("```\n", True),
        ("It works. ", False),
        ("Fine.\n", False),
        ("~~~~\n", True),
        ("~~~\n", True),
        ("open", True),
    ]


def test_a_sentence_is_returned_as_soon_as_the_next_has_begun():
    splitter = SentenceSplitter()
    assert splitter.push("One. Two thr") == []
    assert splitter.push("ee.") == [Sentence("One. ")]
    assert splitter.held == "Two three."


def test_an_overlong_sentence_is_cut_at_white_space():
    assert [each.text for each in sentences("aaa bbb ccc ddd eee fff", longest=10)] == [
        "aaa bbb ",
        "ccc ddd ",
        "eee fff",
    ]
