"""A recording continues with an existing log, or rejects it."""

import pytest

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.log import RecordedRequest, RecordedStage, line_of, read_log
from pilotfish.calibration.resuming import log_so_far

FIRST = RecordedRequest(id="1", prompt="Hello?", stages=(RecordedStage(pool="small", answer="hi"),))
SECOND = FIRST.model_copy(update={"id": "2"})
MORE = FIRST.model_copy(update={"stages": (*FIRST.stages, RecordedStage(pool="large", answer="hi"))})


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (line_of(FIRST) + line_of(SECOND), [FIRST, SECOND]),
        (line_of(FIRST) + line_of(SECOND)[:-1], [FIRST, SECOND]),
        (line_of(FIRST) + line_of(SECOND)[:-9], [FIRST]),
        (line_of(FIRST) + line_of(SECOND)[:3], [FIRST]),
        (line_of(FIRST) + line_of(SECOND) + line_of(MORE), [MORE, SECOND]),
    ],
)
def test_rows_stand_once_and_whole(tmp_path, content, kept):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert list(log_so_far(path).values()) == kept
    assert read_log(path) == kept
    assert path.read_bytes().endswith(b"\n")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.parquet", b"PAR1\n\x00\x01", r"\.jsonl"),
        ("log.jsonl.gz", b"\x1f\x8b\n\x00", r"\.jsonl"),
        ("log.jsonl", b"PAR1\x00\x01", r"log\.jsonl:1: is not a row"),
        ("log.jsonl", line_of(FIRST) + b"[1, 2", r"log\.jsonl:2: is not a row"),
        ("log.jsonl", b'{"id": "1", "prompt": "Hello?"}\n', r"log\.jsonl:1: stages"),
    ],
)
def test_a_file_that_is_no_log_is_left_as_it_is(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        log_so_far(path)
    assert path.read_bytes() == content
