"""Prepared folders: an interruption at any point leaves whole folders, and the next attempt completes."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from pilotfish.preparing.folders import PreparedFolders

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.chmod"}
"""Audit events of what changes files; opening one to write it is another."""
SHARDS = {"a": b"1" * 10, "deep/b": b"2" * 10, "c": b"3"}


def make(root: Path, digest: str) -> None:
    """What a preparation does: two files written atomically, one directly, then the folder is completed."""
    folders = PreparedFolders(root)
    with folders.locked(lambda: None):
        if folders.find(digest) is None:
            workspace = folders.begin(digest)
            for name in ("a", "deep/b"):
                if not workspace.has(name):
                    workspace.write(name, SHARDS[name] + digest.encode())
            (workspace.path / "c").write_bytes(SHARDS["c"] + digest.encode())
            folders.complete(workspace, 3, {"of": digest})
        folders.choose(digest)


def interrupted_at(step: int, root: Path, digest: str) -> bool:
    """Make a folder in a child process that ends without cleaning up before change number `step` of files.

    Returns whether it was interrupted.
    """
    child = os.fork()
    if child == 0:
        operations = 0

        def count(event: str, arguments: tuple[object, ...]) -> None:
            nonlocal operations
            if event in CHANGES or (event == "open" and int(str(arguments[2])) & os.O_ACCMODE):
                operations += 1
                if operations > step:
                    os._exit(9)

        sys.addaudithook(count)
        make(root, digest)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, 9}
    return code == 9


def check_whole(root: Path) -> set[str]:
    """Every folder with a digest as its name is complete. Returns the digests."""
    found = {path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    found -= {"current", "previous"}
    folders = PreparedFolders(root)
    for digest in found:
        folder = folders.find(digest)
        assert folder is not None, f"{digest} has a name and is not complete"
        assert (folder.documents, folder.details) == (3, {"of": digest})
        for name, content in SHARDS.items():
            assert (folder.path / name).read_bytes() == content + digest.encode()
    return found


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_interruption_at_any_operation_leaves_whole_folders(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    make(begun, "first")
    make(begun, "second")
    step, interrupted = 0, True
    while interrupted:
        root = tmp_path / str(step)
        shutil.copytree(begun, root, symlinks=True)
        interrupted = interrupted_at(step, root, "third")
        left = check_whole(root)
        current = PreparedFolders(root).current
        assert current is not None
        assert current.digest in {"second", "third"}
        assert {"second", current.digest} <= left
        make(root, "third")
        make(root, "fourth")
        assert check_whole(root) == {"third", "fourth"}
        assert not list((root / ".work").iterdir())
        step += 1
    assert step > 30


def test_a_file_that_was_written_whole_is_not_written_again(tmp_path: Path) -> None:
    folders = PreparedFolders(tmp_path)
    with folders.locked(lambda: None):
        first = folders.begin("d")
        first.write("whole", b"x")
        (first.path / "partial").write_bytes(b"x")
        again = folders.begin("d")
        assert again.has("whole")
        assert not again.has("partial")
        assert not folders.begin("other").has("whole")


def test_previous_is_the_last_complete_folder_of_another_digest(tmp_path: Path) -> None:
    folders = PreparedFolders(tmp_path)
    with folders.locked(lambda: None):
        assert folders.begin("first").previous is None
    make(tmp_path, "first")
    make(tmp_path, "second")
    with folders.locked(lambda: None):
        assert folders.begin("third").previous == tmp_path / "second"
    make(tmp_path, "first")
    assert folders.current == folders.find("first")
    assert check_whole(tmp_path) == {"first", "second"}


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", ".hidden", "a/.b", "a\nb"])
def test_a_file_cannot_be_written_outside_of_the_folder(tmp_path: Path, name: str) -> None:
    folders = PreparedFolders(tmp_path)
    with folders.locked(lambda: None), pytest.raises(ValueError, match="must be a relative path"):
        folders.begin("d").write(name, b"")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    folders = PreparedFolders(tmp_path)
    reading, writing = os.pipe()
    with folders.locked(lambda: None):
        child = os.fork()
        if child == 0:

            def waits() -> None:
                os.write(writing, b"w")
                os._exit(3)

            with folders.locked(waits):
                os._exit(0)
        assert os.read(reading, 1) == b"w"
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
