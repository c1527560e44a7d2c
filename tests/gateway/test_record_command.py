"""`pilotfish record` against a gateway: what it asks and writes, how it continues, and what it adds to a log."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from pilotfish.calibration.log import RecordedRequest, read_log, write_jsonl
from pilotfish.cli.main import application
from pilotfish.testing.stand_in_engine import Script

from .conftest import House

ROUTERS = Path(__file__).parents[2] / "examples" / "calibrate" / "routers.yaml"


async def record(house: House, *options: str):
    command = ["record", *options, "--url", house.url, "--max-tokens", "16"]
    return await asyncio.to_thread(CliRunner().invoke, application(("record",)), command)


async def test_one_recording_serves_every_scorer_and_goes_on_where_it_stopped(house: House, tmp_path: Path) -> None:
    house.say(small=Script([("Yes", -0.2)]), large=Script([("Canberra", -0.1)]))
    await house.serve([])
    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "log.jsonl"
    check = {"type": "text", "any": ["Canberra"]}
    rows = [{"id": f"q{place}", "prompt": f"Question {place}?", "check": check} for place in range(9)]
    prompts.write_bytes(b"\n".join(map(orjson.dumps, rows)))

    first = await record(house, str(prompts), str(ROUTERS), "--out", str(log), "--limit", "4")
    assert first.exit_code == 0, first.output
    sampled = [entry.id for entry in await asyncio.to_thread(read_log, log)]
    assert len(sampled) == 4
    log.write_bytes(log.read_bytes()[:-20])
    asked = len(house.engine.bodies)

    again = await record(house, str(prompts), str(ROUTERS), "--out", str(log), "--limit", "4")
    assert again.exit_code == 0, again.output
    entries = await asyncio.to_thread(read_log, log)
    assert sorted(entry.id for entry in entries) == sorted(sampled)
    assert len(house.engine.bodies) - asked == asked // 4

    whole = await record(house, str(prompts), str(ROUTERS), "--out", str(log))
    assert whole.exit_code == 0, whole.output
    entries = await asyncio.to_thread(read_log, log)
    assert sorted(entry.id for entry in entries) == [f"q{place}" for place in range(9)]
    for entry in entries:
        small, large = entry.stages
        assert small.scores == {"logprob": 547, "self-check": 1000, "agreement": 1000}
        assert (small.quality, large.quality) == (0.0, 1.0)
        assert small.logprobs == (-0.2,)
    assert all(body["max_tokens"] <= 16 for body in house.engine.bodies)


COMBINED = """
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: by-several}
spec:
  strategy:
    type: Cascade
    cascade:
      streaming: Hold
      stages:
        - poolRef: {name: small}
          accept:
            thresholdPermille: 500
            scorer:
              name: combined
              config: {members: [{name: logprob}, {name: self-check, config: {samples: 2}}]}
        - poolRef: {name: large}
"""


async def test_a_row_is_given_what_it_lacks_and_keeps_the_rest(house: House, tmp_path: Path) -> None:
    house.say(small=Script([("Yes", -0.2)]), large=Script([("Canberra", -0.1)]))
    await house.serve([])
    prompts, log, several = tmp_path / "prompts.jsonl", tmp_path / "log.jsonl", tmp_path / "several.yaml"
    prompts.write_bytes(orjson.dumps({"id": "q", "prompt": "Question?"}))

    async def row(*options: str) -> RecordedRequest:
        result = await record(house, str(prompts), *options, "--out", str(log))
        assert result.exit_code == 0, result.output
        (entry,) = await asyncio.to_thread(read_log, log)
        return entry

    first = await row(str(ROUTERS), "--router", "by-logprob")
    assert first.stages[0].scores == {"logprob": 547}
    # as a user who has judged the answers would
    judged = first.model_copy(update={"stages": tuple(s.model_copy(update={"quality": 0.5}) for s in first.stages)})
    write_jsonl(log, [judged])

    asked = len(house.engine.bodies)
    several.write_text(COMBINED)
    combined = await row(str(several))
    assert [body.get("n") for body in house.engine.bodies[asked:]] == [2]
    assert combined.stages[0].scores == {"logprob": 547, "self-check": 1000}
    assert combined.stages[0].quality == 0.5
    assert combined.stages[1] == judged.stages[1]

    asked = len(house.engine.bodies)
    several.write_text(COMBINED.replace("samples: 2", "samples: 3"))
    again = await row(str(several))
    assert [body.get("n") for body in house.engine.bodies[asked:]] == [3]
    told = again.stages[0].score_configs, combined.stages[0].score_configs
    assert [name for name in told[0] if told[0][name] != told[1][name]] == ["self-check"]

    asked = len(house.engine.bodies)
    assert await row(str(several)) == again
    assert len(house.engine.bodies) == asked

    prompts.write_bytes(orjson.dumps({"id": "q", "prompt": "Another question?"}))
    other = await record(house, str(prompts), str(several), "--out", str(log))
    assert other.exit_code == 1
    assert "'q' is in the log with another question" in other.output


async def test_an_answer_that_was_judged_is_kept_or_the_recording_refused(house: House, tmp_path: Path) -> None:
    """A row as a gateway writes it, without tokens, judged by a user."""
    house.say(small=Script([("Yes", -0.2)]), large=Script([("Canberra", -0.1)]))
    await house.serve([])
    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "log.jsonl"
    prompts.write_bytes(orjson.dumps({"id": "q", "prompt": "Question?"}))
    stages = [
        {"pool": "small", "answer": "No", "quality": 0.5, "cost": 1.0, "grader": {"of": "small"}},
        {"pool": "large", "answer": "Canberra", "quality": 1.0, "cost": 2.0},
    ]
    served = {"id": "q", "prompt": "Question?", "action": "small", "propensity": 0.9, "tenant": "a", "stages": stages}
    log.write_bytes(orjson.dumps(served) + b"\n")

    async def told(router: str) -> tuple[int, str, dict[str, Any]]:
        result = await record(house, str(prompts), str(ROUTERS), "--router", router, "--out", str(log))
        return result.exit_code, result.output, orjson.loads(log.read_bytes())

    code, said, row = await told("by-self-check")
    assert code == 0, said
    scored = ("scores", "score_configs", "score_costs", "score_seconds")
    assert row["stages"][0]["scores"].keys() == {"self-check"}
    stages[0] |= {name: row["stages"][0][name] for name in scored if name in row["stages"][0]}
    assert row == served

    asked = len(house.engine.bodies)
    code, said, refused = await told("by-logprob")
    assert (code, refused, len(house.engine.bodies)) == (1, served, asked)
    assert "request 'q' lacks logprobs of pool 'small'" in said

    check = {"type": "text", "any": ["Yes"]}
    prompts.write_bytes(orjson.dumps({"id": "q", "prompt": "Question?", "check": check}))
    code, said, row = await told("by-logprob")
    assert code == 0, said
    assert (row["stages"][0]["answer"], row["stages"][0]["quality"]) == ("Yes", 1.0)
    assert row["stages"][1] == stages[1]
    assert row["tenant"] == "a"
    assert not row.keys() & {"action", "propensity"}


async def test_an_answer_that_is_cut_off_is_told_and_tried_again_later(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
        await writer.drain()
        writer.close()

    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "log.jsonl"
    prompts.write_bytes(orjson.dumps({"id": "q", "prompt": "Question?"}))
    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        command = ["record", str(prompts), str(ROUTERS), "--out", str(log), "--url", url]
        result = await asyncio.to_thread(CliRunner().invoke, application(("record",)), command)
    assert result.exit_code == 1
    assert "q: " in result.output
    assert "closed the connection before the end of its answer" in result.output
    assert log.read_bytes() == b""
