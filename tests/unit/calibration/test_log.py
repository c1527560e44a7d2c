import gzip
import math
import sys

import pyarrow as pa
import pytest
from pyarrow import parquet

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import RecordedRequest, RecordedStage, read_log, write_jsonl

ENTRY = RecordedRequest(
    id="1",
    prompt="Hello?",
    stages=(
        RecordedStage(pool="small", answer="hi", logprobs=(-0.5, -math.inf), quality=1.0),
        RecordedStage(pool="large"),
    ),
    action="small",
    propensity=0.9,
)


def test_a_log_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "log.jsonl"
    write_jsonl(path, [ENTRY])
    assert read_log(path) == [ENTRY]
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_log(packed) == [ENTRY]


def test_parquet_means_the_same(tmp_path):
    rows = [
        {
            "id": "1",
            "prompt": "Hello?",
            "action": "small",
            "propensity": 0.9,
            "stages": [
                {"pool": "small", "answer": "hi", "logprobs": [-0.5, None], "quality": 1.0, "scores": None},
                {"pool": "large", "answer": None, "logprobs": None, "quality": None, "scores": {"x": None}},
            ],
        }
    ]
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    assert read_log(path) == [ENTRY]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no request"),
        ('{"id": "1"}', r":1: stages"),
        ('{"id": "1", "stages": [{"pool": "s", "quality": 3}]}', r"stages\[0\]\.quality"),
        ('{"id": "1", "stages": [{"pool": "s", "scores": {"x": 1001}}]}', r"stages\[0\]\.scores\.x"),
        ('{"id": "1", "propensity": 0, "stages": [{"pool": "s"}]}', "propensity"),
        ("{not json", "is not JSON"),
        ('{"id": "1", "stages": [{"pool": "s"}]}\n' * 2, "'1' is in lines 1 and 2"),
    ],
)
def test_a_faulty_log_names_row_and_field(tmp_path, text, said):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_log(path)


@pytest.mark.parametrize("name", ["log.parquet", "log.jsonl.gz"])
def test_a_file_of_another_format_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text("something else")
    with pytest.raises(ConfigError, match=str(name)):
        read_log(path)


def test_parquet_without_its_package_names_the_fix(tmp_path, monkeypatch):
    path = tmp_path / "log.parquet"
    parquet.write_table(pa.Table.from_pylist([{"id": "1"}]), path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'pilotfish\[calibrate\]'"):
        read_log(path)
