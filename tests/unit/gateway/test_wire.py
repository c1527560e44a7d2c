"""Pieces of streams, however they are cut."""

import itertools

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.gateway.wire.assembly import Assembly
from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.gateway.wire.upstream import notable
from pilotfish.upstream.sse import EventCutter, payloads


@given(st.lists(st.text(max_size=20), max_size=8), st.data(), st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]))
def test_events_survive_any_cut(texts: list[str], data: st.DataObject, blank: str) -> None:
    sent = [orjson.dumps({"choices": [text]}) for text in texts]
    stream = b"".join(b"data: " + each + blank.encode() for each in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges) if end > start]
    cutter = EventCutter()
    out = [*(cutter.feed(piece) for piece in pieces), cutter.end()]
    assert b"".join(out).removesuffix(b"\n\n") == stream.removesuffix(b"\n\n")
    assert [payload for piece in out for payload in payloads(piece)] == sent


def test_half_an_event_is_kept_back() -> None:
    cutter = EventCutter()
    assert cutter.feed(b'data: {"choices": []}\n\ndata: {"cho') == b'data: {"choices": []}\n\n'
    assert cutter.feed(b'ices": []}') == b""
    assert cutter.feed(b"\n\n") == b'data: {"choices": []}\n\n'


def test_a_last_event_without_a_blank_line_is_not_lost() -> None:
    cutter = EventCutter()
    assert cutter.feed(b"data: [DONE]\n") == b""
    assert payloads(cutter.end()) == [b"[DONE]"]
    assert cutter.end() == b""


@given(st.text())
def test_an_answer_that_spells_json_is_still_text(text: str) -> None:
    said = text + '{"finish_reason":"stop","usage":{"x":1}, "error": "e"}'
    chunk = orjson.dumps({"choices": [{"delta": {"content": said}, "finish_reason": None}]})
    assert notable(b"data: " + chunk + b"\n\n") == ("[DONE]" in said)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=10), st.integers(1, 3))
def test_a_whole_answer_is_put_together_from_any_chunks(texts: list[str], n: int) -> None:
    request = ClientRequest(Task.CHAT, {"model": "m", "n": n, "messages": [{"role": "user", "content": "x"}]})
    assembly = Assembly(request)
    for text in texts:
        for index in range(n):
            logprobs = {"content": [{"token": text, "logprob": -1.0}]}
            assembly.add(
                {
                    "id": "1",
                    "object": "c",
                    "choices": [{"index": index, "delta": {"content": text}, "logprobs": logprobs}],
                }
            )
    whole = assembly.whole()
    assert whole["object"] == "chat.completion"
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["".join(texts)] * n
    assert [[t["token"] for t in choice["logprobs"]["content"]] for choice in whole["choices"]] == [texts] * n
