"""`pilotfish fetch`: the fetched revision is written to a file, and a failure of that is no failure of the fetch."""

from pathlib import Path

from typer.testing import CliRunner, Result

from pilotfish.cli.main import application


def fetched(model: Path, told: Path) -> Result:
    """The fetch of a folder that is used where it lies, as a pool's pods run it."""
    model.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (model / name).write_bytes(b"{}")
    command = ["fetch", "--uri", f"file://{model}", "--cache", str(model.parent / "cache")]
    return CliRunner().invoke(application(("fetch",)), command, env={"PILOTFISH_REVISION_FILE": str(told)})


def test_a_revision_that_cannot_be_told_does_not_keep_an_engine_from_its_weights(tmp_path: Path) -> None:
    told = fetched(tmp_path / "model", tmp_path / "revision")
    assert (told.exit_code, (tmp_path / "revision").read_text()) == (0, "")
    untold = fetched(tmp_path / "model", tmp_path / "no such folder" / "revision")
    assert untold.exit_code == 0
    assert str(tmp_path / "model") in untold.stdout
    assert "warning: --revision-file" in untold.stderr
