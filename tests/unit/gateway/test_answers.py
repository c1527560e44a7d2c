"""An answer on its way from a pool to a client: whole, once, and the same however it arrives and is read."""

import asyncio
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import BadUpstream
from pilotfish.gateway.answer_reader import AnswerReader, StreamedPieces, WholePiece
from pilotfish.gateway.wire.encoder import encoder_for
from pilotfish.gateway.wire.request import ClientRequest, Task

REPORT = {"answered_by": "small"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


class Arriving:
    """A model server's reply that arrives in these pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def piece(self) -> bytes:
        return next(self._pieces, b"")

    async def read(self) -> bytes:
        return b"".join(self._pieces)


def request(**body: Any) -> ClientRequest:
    return ClientRequest(Task.CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], **body})


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion.chunk", "choices": [choice], **more}


def event(value: object) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else orjson.dumps(value)) + b"\n\n"


def stream_of(texts: list[str]) -> bytes:
    said = [chunk(text) for text in texts]
    usage = {"id": "1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
    return b"".join(map(event, [*said, chunk(finish="stop"), usage, b"[DONE]"]))


async def sent(reader: AnswerReader, to: ClientRequest, *, ahead: int = 0) -> bytes:
    for _ in range(ahead):
        await reader.read_ahead()
    encoder, out = encoder_for(to), []
    while piece := await reader.next():
        out.append(encoder.add(piece))
    return b"".join([*out, encoder.end(REPORT)])


def payloads(raw: bytes) -> list[bytes]:
    return [part.removeprefix(b"data: ") for part in raw.split(b"\n\n") if part]


@given(
    st.lists(st.text(max_size=10), max_size=8),
    st.data(),
    st.booleans(),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
)
def test_a_client_gets_every_text_once_and_one_end(
    texts: list[str], data: st.DataObject, parse: bool, ahead: int, stream: bool, usage: bool
) -> None:
    raw = stream_of(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[start:end] for start, end in itertools.pairwise([0, *cuts, len(raw)]) if end > start]
    asked = request(stream=stream, **({"stream_options": {"include_usage": True}} if stream and usage else {}))
    reader = AnswerReader(StreamedPieces(Arriving(*pieces), parse=parse or not stream))  # type: ignore[arg-type]
    answer = asyncio.run(sent(reader, asked, ahead=ahead))
    assert reader.usage.completion_tokens == 5
    if not stream:
        whole = orjson.loads(answer)
        assert (whole["choices"][0]["message"]["content"] or "") == "".join(texts)
        assert (whole["usage"], whole["pilotfish"]) == (USAGE, REPORT)
        return
    *chunks, done = payloads(answer)
    parsed = [orjson.loads(each) for each in chunks]
    assert done == b"[DONE]"
    assert "".join(choice["delta"].get("content") or "" for each in parsed for choice in each["choices"]) == "".join(
        texts
    )
    assert [each.get("pilotfish") for each in parsed] == [None] * (len(parsed) - 1) + [REPORT]
    assert any(each.get("usage") for each in parsed) == usage
    assert (reader.text == "".join(texts)) if parse else (reader.text is None)


async def test_what_nobody_reads_passes_byte_for_byte() -> None:
    odd = b'data: {"id":"1",  "choices": [{"index":0,"delta":{"content":"\\u00e9"}}], "an_engine_adds": [1.0]}\n\n'
    reader = AnswerReader(StreamedPieces(Arriving(odd, stream_of([])), parse=False))  # type: ignore[arg-type]
    assert (await sent(reader, request(stream=True))).startswith(odd)
    raw = b'{"choices": [ {"index":0,"message":{"content":"\\u00e9"}} ],"usage":null}\n'
    whole = AnswerReader(WholePiece(Arriving(raw), altered=False))  # type: ignore[arg-type]
    assert (await sent(whole, request())).startswith(raw.rstrip()[:-1] + b',"pilotfish":')


@pytest.mark.parametrize(
    "garbage",
    [
        b"[]",
        b"{}",
        b"not json",
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": [{"index": null}]}',
        b'{"choices": [{"index": "0"}]}',
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_is_none_is_an_upstream_error(garbage: bytes, streamed: bool) -> None:
    arriving: Any = Arriving(event(garbage) if streamed else garbage)
    reader = AnswerReader(StreamedPieces(arriving, parse=True) if streamed else WholePiece(arriving, altered=False))
    with pytest.raises(BadUpstream):
        await reader.begin(whole=True)


async def test_usage_that_is_no_number_counts_as_unknown() -> None:
    choices = [{"index": 0, "message": {"content": "x"}}]
    raw = orjson.dumps({"choices": choices, "usage": {"prompt_tokens": "7", "completion_tokens": -1}})
    reader = AnswerReader(WholePiece(Arriving(raw), altered=False))  # type: ignore[arg-type]
    await reader.begin(whole=True)
    assert (reader.usage.prompt_tokens, reader.usage.completion_tokens, reader.text) == (None, None, "x")
