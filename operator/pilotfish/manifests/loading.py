"""From paths to resources, Secrets and ConfigMaps, problems and warnings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.api import Resource
from pilotfish.api.validation import Fault
from pilotfish.base.keys import DEFAULT_NAMESPACE, Key
from pilotfish.manifests.corev1 import KeyedData, parse_keyed_data
from pilotfish.manifests.positions import Document, MalformedYaml, documents
from pilotfish.plugins.installed import InstalledPlugins
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.kinds import KINDS, parse_resource

SUFFIXES = frozenset({".yaml", ".yml"})

There = Mapping[Key, Resource | None]
"""What references may go to; None for a resource whose manifest is not valid."""


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong, or to be warned of, at a line (from 1) of a file, or in a whole file or folder (line 0)."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


@dataclass(frozen=True)
class Loaded:
    """What was in the files. `problems` are faults, `warnings` are not; both in the order of files and lines."""

    resources: tuple[Resource, ...]
    secrets: Mapping[Key, KeyedData]
    config_maps: Mapping[Key, KeyedData]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    files: int


@dataclass
class _Reading:
    files: tuple[Path, ...] = ()
    seen: dict[Key, tuple[Path, int]] = field(default_factory=dict)
    resources: list[tuple[Resource, Path, Document]] = field(default_factory=list)
    keyed: list[KeyedData] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    empty_folders: list[Path] = field(default_factory=list)

    def fault(self, path: Path, document: Document, fault: Fault) -> None:
        self.problems.append(Problem(path, document.line(fault.path), str(fault)))


def load(paths: Sequence[Path], *, registry: Registry | None = None) -> Loaded:
    """Read files and folders (recursively: *.yaml and *.yml in order, hidden ones left out).

    An empty folder beside others is a warning: it may be watched for what is yet to come.

    `registry` says what is installed (None: what is installed in this environment). Nothing is raised for what is in
    a file, nor for a file that cannot be read: each is a Problem.
    """
    reading = _reading(paths)
    return _loaded(reading, _resources(reading), registry or Registry.installed(), beside=bool(reading.files))


def load_text(text: str, named: str, *, registry: Registry | None = None) -> Loaded:
    """Manifests in a string. Problems name it `named`."""
    reading = _Reading(files=(Path(named),))
    _read_text(Path(named), text, reading)
    return _loaded(reading, _resources(reading), registry or Registry.installed(), beside=True)


def load_apart(paths: Sequence[Path], *, registry: Registry | None = None) -> tuple[Loaded, ...]:
    """Each of the paths by itself, as two may hold resources of one name. A reference may go to any of them, and an
    empty folder is beside them all.
    """
    readings = [_reading([path]) for path in paths]
    there = {key: found for reading in readings for key, found in _resources(reading).items()}
    beside = any(reading.files for reading in readings)
    return tuple(_loaded(reading, there, registry or Registry.installed(), beside=beside) for reading in readings)


def _reading(paths: Sequence[Path]) -> _Reading:
    reading = _Reading()
    reading.files = tuple(_files(paths, reading))
    for path in reading.files:
        _read(path, reading)
    return reading


def _loaded(reading: _Reading, there: There, registry: Registry, *, beside: bool) -> Loaded:
    """`beside`: whether there are manifests beside an empty folder, which is but a warning then."""
    without = [
        Problem(folder, 0, "this folder has no *.yaml or *.yml file: add a manifest, or name another folder")
        for folder in reading.empty_folders
    ]
    return Loaded(
        resources=tuple(resource for resource, _, _ in reading.resources),
        secrets={item.key: item for item in reading.keyed if item.key.kind == "Secret"},
        config_maps={item.key: item for item in reading.keyed if item.key.kind == "ConfigMap"},
        problems=tuple(sorted((*reading.problems, *(() if beside else without)))),
        warnings=tuple(sorted((*_warnings(reading, there, registry), *(without if beside else ())))),
        files=len(reading.files),
    )


def _files(paths: Sequence[Path], reading: _Reading) -> Iterator[Path]:
    given: set[Path] = set()
    for path in paths:
        found = sorted(_in_folder(path)) if path.is_dir() else [path]
        if not found:
            reading.empty_folders.append(path)
        for file in found:
            if file.resolve() not in given:
                given.add(file.resolve())
                yield file


def _in_folder(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.suffix in SUFFIXES and file.is_file():
            yield file


def _read(path: Path, reading: _Reading) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reading.problems.append(Problem(path, 0, f"cannot be read: {error.strerror}"))
        return
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reading.problems.append(Problem(path, line, "not YAML: the file must be UTF-8"))
        return
    _read_text(path, text, reading)


def _read_text(path: Path, text: str, reading: _Reading) -> None:
    empty = True
    try:
        for document in documents(text):
            empty = False
            _take(path, document, reading)
    except MalformedYaml as error:
        reading.problems.append(Problem(path, error.line, str(error)))
        return
    if empty:
        reading.problems.append(Problem(path, 0, "the file is empty: add a manifest, or remove the file"))


def _take(path: Path, document: Document, reading: _Reading) -> None:
    value = document.value
    if isinstance(value, Mapping) and value.get("apiVersion") == "v1" and value.get("kind") in {"Secret", "ConfigMap"}:
        keyed, faults = parse_keyed_data(value, DEFAULT_NAMESPACE)
        if keyed is not None and _is_new(path, document, keyed.key, reading):
            reading.keyed.append(keyed)
    else:
        resource, faults = parse_resource(value)
        if resource is not None and _is_new(path, document, resource.key, reading):
            reading.resources.append((resource, path, document))
    for fault in faults:
        reading.fault(path, document, fault)


def _is_new(path: Path, document: Document, key: Key, reading: _Reading) -> bool:
    first = reading.seen.setdefault(key, (path, document.line(("metadata", "name"))))
    if first == (path, document.line(("metadata", "name"))):
        return True
    message = f"a {key.kind} {key.name!r} is already in {first[0]}:{first[1]}: rename or remove one"
    reading.fault(path, document, Fault(("metadata", "name"), message))
    return False


def _resources(reading: _Reading) -> There:
    """What references may go to."""
    valid = {resource.key: resource for resource, _, _ in reading.resources}
    return {key: valid.get(key) for key in reading.seen if key.kind in KINDS}


def _warnings(reading: _Reading, there: There, registry: Registry) -> Iterator[Problem]:
    for resource, path, document in reading.resources:
        for fault in _spec_faults(resource, there, registry):
            yield Problem(path, document.line(fault.path), str(fault))


def _spec_faults(resource: Resource, there: There, registry: Registry) -> Iterator[Fault]:
    kind, installed = KINDS[resource.kind], InstalledPlugins(registry)
    yield from KINDS.check_all(resource, there.get, installed)
    for reference in KINDS.references(resource):
        if reference.key not in there:
            missing = f"there is no {reference.key.kind} {reference.key.name!r} in these files"
            yield Fault(reference.path, f"{missing}: add its manifest, or correct the name")
    yield from kind.remark(resource, installed)
    yield from kind.remark_links(resource, there.get, installed)
