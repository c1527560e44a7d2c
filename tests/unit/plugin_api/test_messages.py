"""Context in the last user turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.plugin_api.messages import estimate_tokens, last_user_text, with_context

HISTORY = ({"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Yes."})
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def test_context_goes_in_front_of_the_last_message_and_leaves_the_history():
    messages = (*HISTORY, {"role": "user", "content": "Why?", "name": "ann"})
    changed = with_context(messages, "Because.")
    assert changed == (*HISTORY, {"role": "user", "content": "Because.\n\nWhy?", "name": "ann"})
    assert messages[-1]["content"] == "Why?"


def test_parts_that_are_no_text_are_kept():
    parts = [{"type": "text", "text": "What is it?"}, IMAGE]
    changed = with_context([{"role": "user", "content": parts}], "A ship.")
    assert changed[0]["content"] == [{"type": "text", "text": "A ship."}, *parts]
    assert last_user_text(changed) == "A ship.\nWhat is it?"


@pytest.mark.parametrize(
    "messages",
    [
        (),
        HISTORY,
        ({"role": "user", "content": "Weather?"}, {"role": "tool", "content": "17", "tool_call_id": "a"}),
        ({"role": "user", "content": None},),
        ({"role": "user", "content": [IMAGE]},),
        ({"role": "user", "content": " \n"},),
    ],
)
def test_only_a_last_message_of_the_user_has_a_question(messages):
    assert last_user_text(messages) is None


@given(st.text(), st.text())
def test_the_estimate_of_a_whole_is_at_most_that_of_its_parts(first, second):
    assert estimate_tokens(first + second) <= estimate_tokens(first) + estimate_tokens(second)
    assert (estimate_tokens(first) == 0) == (not first)
