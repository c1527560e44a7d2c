"""Documentation, docstrings, comments, messages and commit subjects are in plain technical English.

A list cannot make prose good. It keeps out the words that were misused here, and names the plain word in the failure.
"""

import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUBJECT_LENGTH = 72
FIRST_CHECKED_COMMIT = "dd65503d56b3"
"""Subjects of the commits after this one are checked."""

PLAIN_WORDS = {
    r"dear(er|est)?": "expensive",
    r"whoever": "the user, the caller, everyone who",
    r"(tell|tells|told)": "report, return, print, state",
    r"(own|in|its|their|his|whose|\w+'s?) words": "message, output, the name of the format",
    r"the words of": "the message of",
    r"texts": "strings, documents, prompts",
    r"amid": "among, during",
    r"amiss": "wrong",
    r"perhaps": "may, might",
    r"wish(es|ed)?": "want, request",
    r"mend(s|ed|ing)?": "fix, correct, repair",
    r"(nobody|somebody)": "no client, no process, another program: name it",
    r"(whatever|wherever)": "everything that, every place where",
    r"anew": "again",
    r"(hence|thus)": "therefore, so",
    r"ought": "should",
    r"in vain": "without effect",
    r"garbage(?! collect)": "an invalid response",
    r"one another": "each other",
    r"all the same": "nevertheless, although",
    r"but for": "except",
    r"goes on": "continues",
    r"for want of": "because ... is missing",
    r"(as it stands|as they stand)": "unchanged, verbatim",
    r", as (it|they|there|these|those|both|most|several)": "because",
}
FORBIDDEN = {
    re.compile(rf"(?<![\w.'`-]){words}(?![\w`-])", re.IGNORECASE): plain for words, plain in PLAIN_WORDS.items()
}

PROSE = {".md", ".yaml", ".yml", ".tpl", ".txt", ".toml", ".sh"}
"""Suffixes of files that are checked as a whole. Of Python files, comments and strings are."""
PROSE_NAMES = {"Makefile", "Dockerfile"}
DATA = ("requirements/", "LICENSE", "tests/rules/test_words.py")
"""Prefixes of files whose words are data."""


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def checked(name: str) -> bool:
    path = Path(name)
    return not name.startswith(DATA) and (path.suffix in PROSE | {".py"} or path.name in PROSE_NAMES)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The prose of a file, with its line. A string of Python without a space is a name, not prose."""
    if path.suffix != ".py":
        yield from enumerate(path.read_text().splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub(r"\{[^{}]*\}", "", line)


def faults(name: str) -> list[str]:
    return [
        f"{name}:{number}: {found.group(0).strip()!r}: write {plain}"
        for number, line in prose(ROOT / name)
        for pattern, plain in FORBIDDEN.items()
        for found in pattern.finditer(line)
    ]


def test_prose_uses_plain_words() -> None:
    found = [fault for name in tracked() if checked(name) for fault in faults(name)]
    assert not found, "\n".join(found)


def test_commit_subjects_are_short() -> None:
    log = subprocess.run(
        ["git", "log", "--format=%s", f"{FIRST_CHECKED_COMMIT}..HEAD"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    if log.returncode:
        pytest.skip(f"the history does not contain {FIRST_CHECKED_COMMIT}: fetch it whole to check commit subjects")
    long = [subject for subject in log.stdout.splitlines() if len(subject) > SUBJECT_LENGTH]
    assert not long, f"more than {SUBJECT_LENGTH} characters: {long}"
