"""`pilotfish plugins`: what it shows of a plugin, what it checks, and what it writes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field
from typer.testing import CliRunner

from pilotfish.api.common import Model
from pilotfish.cli.main import application
from pilotfish.cli.plugin_details import config_fields

ROOT = Path(__file__).parents[3]
BROKEN = """
from pilotfish.plugin_api.adaptations import Rewritten

class {name}:
    @classmethod
    def from_settings(cls, settings):
        return cls()

    async def on_request(self, *, conversation, models):
        return {result}
"""


def run(*arguments):
    result = CliRunner().invoke(
        application(("plugins", "doctor")), ["plugins", *map(str, arguments)], env={"COLUMNS": "300"}
    )
    return result.exit_code, result.output


class Way(StrEnum):
    FAST = "Fast"
    EXACT = "Exact"


class Column(Model):
    name: Annotated[str, Field(max_length=9)]
    """The column's name."""


class Table(Model):
    column: Column = Column(name="term")
    """Where terms are."""
    others: list[Column] = []
    """Further columns."""


class Config(Model):
    table: Table | None = None
    """How the table is read."""
    way: Way = Way.FAST
    """How to search."""
    most_terms: Annotated[int, Field(ge=1, le=9)]


def test_fields_of_nested_objects_have_their_path_in_the_manifest():
    rows = {field.path: field for field in config_fields(Config)}
    assert list(rows) == [
        *("table", "table.column", "table.column.name", "table.others", "table.others[].name"),
        *("way", "mostTerms"),
    ]
    assert (rows["way"].type, rows["way"].default, rows["way"].description) == (
        "Fast | Exact",
        "Fast",
        "How to search.",
    )
    assert (rows["mostTerms"].type, rows["mostTerms"].default) == ("integer, at least 1, at most 9", "required")
    assert rows["table.others[].name"].description == "The column's name."


def test_bare_plugins_lists_as_list_does():
    assert run() == run("list")
    assert "self-check" in run()[1]


def test_show_describes_the_config_of_every_built_in_scorer():
    for name in ("logprob", "self-check", "agreement", "verifier", "combined"):
        code, output = run("show", name)
        assert code == 0
        assert "description" in output, name


def test_show_names_the_plugins_that_exist():
    code, output = run("show", "nothing")
    assert code == 1
    assert "self-check" in output


def folder(tmp_path: Path, module: str, result: str, name: str = "Broken") -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"{module}.py").write_text(BROKEN.format(name="Broken", result=result))
    points = f'[project.entry-points."pilotfish.adaptations"]\nbroken = "{module}:{name}"\n'
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "broken"\nversion = "1"\n{points}')
    return tmp_path


def test_check_reports_each_test_that_fails(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code, output = run("check", folder(tmp_path, "broken_messages", "Rewritten(())"))
    assert code == 1
    assert "failed   every conversation gets a valid result" in output
    assert "Rewritten without messages" in output
    assert "ok       the class implements a protocol" in output


def test_check_reports_a_class_that_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code, output = run("check", folder(tmp_path, "broken_name", "None", name="Absent"))
    assert code == 1
    assert "cannot be loaded" in output


def test_check_skips_what_needs_documents():
    code, output = run("check", "pilotfish-retrieval")
    assert code == 0
    assert "skipped  contract suite: the plugin prepares: add --documents" in output


@pytest.mark.parametrize("name", ["My-Plugin", "my_plugin", "-a", "a--b", ""])
def test_new_refuses_a_name_that_is_no_name_of_a_distribution(tmp_path, name):
    code, output = run("new", "--into", tmp_path, "--", name)
    assert code == 1
    assert "single dashes" in output
    assert not list(tmp_path.iterdir())


def test_new_does_not_write_into_a_folder_that_exists(tmp_path):
    (tmp_path / "mine").mkdir()
    assert run("new", "mine", "--into", tmp_path)[0] == 1
