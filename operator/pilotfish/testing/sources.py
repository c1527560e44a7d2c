"""The contract suite for sources: what copying, resuming and hashing rely on.

A test module subclasses it in a class whose name starts with `Test`, and makes the address exist:

    class TestContract(SourceContract):
        plugin = MemorySource
        uri = "memory://weights"
        files = {"config.json": b"{}", "weights.bin": b"0123456789"}
"""

from collections.abc import Mapping

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved, Source
from pilotfish.plugins.extension_points import SOURCES

LARGEST_PIECE = 16 * 1024 * 1024


class SourceContract:
    """What every source keeps. `files` are the contents at `uri` by path. Nothing is at `absent`."""

    plugin: type[Source]
    uri: str
    absent: str
    files: Mapping[str, bytes]
    access = Access()

    def resolve(self) -> tuple[Source, Resolved]:
        """The source, and its resolved location."""
        source = self.plugin()
        return source, source.resolve(Location(self.uri), self.access)

    def test_the_class_implements_the_protocol(self) -> None:
        SOURCES.check(self.plugin)

    def test_equal_content_has_one_revision(self) -> None:
        (_, first), (_, second) = self.resolve(), self.resolve()
        assert first.revision
        assert first.revision == second.revision

    def test_every_file_is_listed_with_its_size(self) -> None:
        source, resolved = self.resolve()
        found = {file.path: file.size for file in source.files(resolved)}
        assert found == {path: len(content) for path, content in self.files.items()}

    def test_files_are_read_from_any_offset(self) -> None:
        source, resolved = self.resolve()
        for path, content in self.files.items():
            for offset in {0, 1, len(content) // 2, len(content)}:
                pieces = list(source.read(resolved, RemoteFile(path, len(content)), offset=offset))
                assert all(len(piece) <= LARGEST_PIECE for piece in pieces)
                assert b"".join(pieces) == content[offset:]

    def test_an_address_without_content_is_named_in_the_error(self) -> None:
        source = self.plugin()
        try:
            source.files(source.resolve(Location(self.absent), self.access))
        except WeightsError as error:
            message = str(error)
        else:
            raise AssertionError(f"nothing is at {self.absent}, but files were listed")
        assert self.absent in message
