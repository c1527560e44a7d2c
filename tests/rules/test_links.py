"""Relative links in documents lead to a file, and to a heading of it if they name one."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def documents() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def anchors(document: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", documents())
def test_links_lead_somewhere(name: str) -> None:
    for path, anchor in LINK.findall((ROOT / name).read_text()):
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name}: {path} does not exist"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name}: {target.name} has no heading #{anchor}"
