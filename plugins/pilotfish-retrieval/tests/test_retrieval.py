"""The plugin as a router uses it: prepared once, then asked."""

import pytest

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.adaptations import Channel, Conversation
from pilotfish.plugin_api.messages import estimate_tokens
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_retrieval import Retrieval

TRAVEL = """# Travel

## Meals

The limit for meals in Rome is 40 euros a day.

## Trains

Trains are booked by the travel desk.
"""
PAGES = {
    "travel.md": TRAVEL,
    "leave.md": "# Leave\n\nEvery employee has thirty days of annual leave.\n",
    "kitchen.txt": "The dishwasher in the kitchen runs at six.\n",
}
QUESTION = {"role": "user", "content": "What is the limit for meals in Rome?"}
ALONE = StandInModels(missing=frozenset({"embedder", "sparse-embedder", "reranker"}))


def asked(*messages, **fields):
    return Conversation(messages=messages or (QUESTION,), **fields)


async def test_the_passage_is_put_into_the_last_turn_and_cited(prepare, tmp_path):
    plugin, done = await prepare(PAGES, tmp_path / "a")
    assert (done.documents, done.details) == (3, {"passages": 4, "skipped": 0})
    history = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"})
    changed = await plugin.on_request(conversation=asked(*history, QUESTION), models=ALONE)
    assert changed.messages[:2] == history
    assert changed.messages[2]["content"].endswith("\n\nWhat is the limit for meals in Rome?")
    assert (
        "[1] pages/travel.md > Travel > Meals\nThe limit for meals in Rome is 40 euros a day."
        in changed.messages[2]["content"]
    )
    first = changed.notes["citations"][0]
    assert (first["source"], first["path"], first["headings"]) == ("pages", "travel.md", ["Travel", "Meals"])
    start, end = first["span"]
    assert PAGES["travel.md"][start:end] == "The limit for meals in Rome is 40 euros a day."


async def test_nothing_is_added_where_no_passage_is_relevant(prepare, tmp_path):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    conversation = asked({"role": "user", "content": "Who composed the opera Fidelio in the kitchen?"})
    changed = await plugin.on_request(conversation=conversation, models=ALONE)
    assert changed.messages == conversation.messages
    assert changed.notes == {"citations": [], "reason": "no passage is relevant enough"}


async def test_results_of_tools_after_the_question_keep_its_passages(prepare, tmp_path):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    calls = ({"role": "assistant", "tool_calls": []}, {"role": "tool", "tool_call_id": "a", "content": "17"})
    first = await plugin.on_request(conversation=asked(), models=ALONE)
    later = await plugin.on_request(conversation=asked(QUESTION, *calls), models=ALONE)
    assert later.messages == (*first.messages, *calls)


async def test_a_short_question_is_searched_with_the_turns_before_it(prepare, tmp_path):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    again = {"role": "user", "content": "And how much is it?"}
    changed = await plugin.on_request(
        conversation=asked(QUESTION, {"role": "assistant", "content": "40"}, again), models=ALONE
    )
    assert changed.notes["citations"][0]["headings"] == ["Travel", "Meals"]
    assert changed.messages[0] == QUESTION


@pytest.mark.parametrize("room", [-5, 0, 60, 100, 150, None])
async def test_what_is_added_fits_into_the_window_and_the_config(prepare, tmp_path, room):
    many = {f"{number}.md": f"# Meals\n\nThe limit for meals in Rome is {number} euros." for number in range(30)}
    plugin, _ = await prepare(many, tmp_path / "a", {"maxContextTokens": 200, "topK": 50})
    changed = await plugin.on_request(conversation=asked(context_tokens=room), models=ALONE)
    limit = 200 if room is None else max(room, 0)
    added = changed.messages[0]["content"].removesuffix(QUESTION["content"])
    assert estimate_tokens(added) <= limit
    assert bool(changed.notes["citations"]) == (limit >= 100)


@pytest.mark.parametrize("messages", [(), ({"role": "system", "content": "x"},), ({"role": "user", "content": None},)])
async def test_a_conversation_without_a_question_is_left_as_it_is(prepare, tmp_path, messages):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    assert await plugin.on_request(conversation=Conversation(messages=messages), models=ALONE) is None


@pytest.mark.parametrize("text", ["?!", "\ud800", "ab\0cd", "the of and", "x" * 100_000, "word " * 20_000, "漢字かな"])
async def test_any_question_is_answered(prepare, tmp_path, text):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    assert await plugin.on_request(conversation=asked({"role": "user", "content": text}), models=ALONE)


async def test_documents_that_cannot_be_read_are_skipped_and_counted(prepare, tmp_path):
    broken = {
        "empty.md": "",
        "broken.pdf": b"%PDF-1.7\nnothing",
        "image.png": b"\0\1",
        "space.html": "<html><body> </body></html>",
    }
    plugin, done = await prepare({**PAGES, **broken}, tmp_path / "a")
    assert (done.documents, done.details["skipped"]) == (3, 4)
    assert done.details["firstSkipped"].startswith("pages/broken.pdf: it is not a correct PDF")
    assert (await plugin.on_request(conversation=asked(), models=ALONE)).notes["citations"]


@pytest.mark.parametrize("files", [{}, {"empty.md": " \n"}, {"marks.md": "?!"}])
async def test_documents_without_words_are_refused(prepare, tmp_path, files):
    with pytest.raises(ConfigError, match="sources: "):
        await prepare(files, tmp_path / "a")


async def test_a_folder_that_is_not_complete_is_refused(prepare, tmp_path):
    await prepare(PAGES, tmp_path / "a")
    (tmp_path / "a" / "offsets.npy").write_bytes(b"")
    with pytest.raises(ConfigError, match="prepare it again"):
        Retrieval.from_settings(Settings(prepared=tmp_path / "a"))


async def test_a_note_says_which_passages_an_answer_cites(prepare, tmp_path):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    changed = await plugin.on_request(conversation=asked(), models=ALONE)
    text = "40 euros [1], as [2; 7] and a[12345] say [1"
    for size in (1, 3, len(text)):
        stream = plugin.on_answer(conversation=asked(), state=changed.state, models=ALONE, channel=Channel())
        released = [(await stream.push(text[at : at + size])).text for at in range(0, len(text), size)]
        last = await stream.end("stop")
        assert "".join(released) + last.text == text
        assert last.notes == {"cited": [1], "citedUnknown": [2, 7]}


async def test_tool_arguments_are_not_checked_for_citations(prepare, tmp_path):
    plugin, _ = await prepare(PAGES, tmp_path / "a")
    assert plugin.on_answer(conversation=asked(), state=2, models=ALONE, channel=Channel(tool_call=0)) is None
    assert plugin.on_answer(conversation=asked(), state=None, models=ALONE, channel=Channel()) is None


@pytest.mark.parametrize(
    ("config", "field"),
    [({"mode": "magic"}, "config.mode"), ({"topK": 0}, "config.topK"), ({"topk": 4}, "config.topk")],
)
def test_an_invalid_config_is_refused_with_its_field(config, field):
    with pytest.raises(ConfigError) as caught:
        Retrieval.from_settings(Settings(config))
    assert caught.value.field == field
