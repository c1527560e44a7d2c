"""What is said of plugins is so: the tutorial's code, and what checks every distribution of the workspace."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tutorial_shows_files_that_tests_run() -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "plugins.md").read_text())
    assert len(blocks) == 8
    for path, shown in blocks:
        assert shown == (ROOT / path).read_text(), f"docs/plugins.md does not show {path} as it is"


def test_the_table_of_plugins_has_every_distribution_of_the_workspace() -> None:
    listed = re.findall(r"^\| \[([\w-]+)\]\(\.\./plugins/", (ROOT / "docs" / "plugins.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))


def test_types_and_layers_are_checked_in_every_distribution_of_the_workspace() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    checked = tools["importlinter"]
    public = next(each for each in checked["contracts"] if each["name"] == "plugins use the public path")
    for source in ROOT.glob("plugins/*/src/*"):
        assert f"$MYPY_CONFIG_FILE_DIR/{source.parent.relative_to(ROOT)}" in tools["mypy"]["mypy_path"]
        for packages in (tools["mypy"]["packages"], checked["root_packages"], public["source_modules"]):
            assert source.name in packages
