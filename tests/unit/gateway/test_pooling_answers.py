"""Answers of pooling models of any shape: results in order, or an error that names the model server."""

import pytest

from pilotfish.base.errors import BadUpstream
from pilotfish.upstream.pooling_answers import probabilities, scores, vectors


def test_results_are_in_the_order_of_their_index() -> None:
    rows = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": [1.5]}]
    assert vectors({"data": rows}, 2) == [[1.5], [2.0]]
    assert scores({"data": [{"index": 0, "score": 1}]}, 1) == [1.0]
    assert probabilities({"data": [{"index": 0, "probs": [0.25, 0.75]}]}, 1) == [[0.25, 0.75]]


@pytest.mark.parametrize(
    "data",
    [
        None, "words", [None], [{}], [{"index": None, "embedding": [1]}], [{"index": 0}],
        [{"index": 0, "embedding": "AAAA"}], [{"index": 0, "embedding": [None]}], [{"index": 0, "embedding": [1]}] * 2,
    ],
)  # fmt: skip
def test_any_other_shape_is_the_model_servers_fault(data: object) -> None:
    with pytest.raises(BadUpstream, match="the model server returned"):
        vectors({"data": data}, 1)
