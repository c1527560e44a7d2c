"""The contract suite for logits plugins: what the engine relies on. Needs torch.

A test module subclasses it in a class whose name starts with `Test`, and makes the models that the plugin runs:

    class TestContract(LogitsContract):
        plugin = Shift
        settings = Settings({"by": 2})

        def engine(self):
            return EngineProcess(...)
"""

from collections.abc import Mapping
from typing import Any

import torch

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.logits import EngineProcess, LogitsPlugin, SteeredRequest
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import LOGITS
from pilotfish.testing.settings import refused_field

PROMPTS = ([1], [2, 3, 4, 5], [6, 7])
SPARE_ROWS = 2
TOLERANCE = 1e-3


class LogitsContract:
    """What every logits plugin keeps. `arguments` are those of a request. `vocabulary` is the number of logits."""

    plugin: type[LogitsPlugin]
    settings = Settings()
    arguments: Mapping[str, Any] = {}
    vocabulary = 64

    def engine(self) -> EngineProcess:
        """A process on the CPU with a folder for each role, and at least 8 requests and 16 tokens."""
        raise NotImplementedError

    def requests(self) -> dict[int, SteeredRequest]:
        """Requests in every second row of a batch."""
        values = [self.plugin.request_values(arguments=self.arguments) for _ in PROMPTS]
        return {2 * row: SteeredRequest(values[row], prompt, []) for row, prompt in enumerate(PROMPTS)}

    def logits(self) -> "torch.Tensor":
        """Logits of a batch with rows between and behind those of the requests."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(2 * len(PROMPTS) + SPARE_ROWS, self.vocabulary, generator=generator)

    def test_the_class_implements_the_protocol(self) -> None:
        LOGITS.check(self.plugin)

    def test_an_unknown_field_of_the_config_is_refused(self) -> None:
        wrong = Settings({**self.settings.config, "not-a-field": 1})
        assert refused_field(self.plugin, wrong) == "config.not-a-field"

    def test_an_unknown_parameter_of_a_request_is_refused_by_its_name(self) -> None:
        try:
            self.plugin.request_values(arguments={**self.arguments, "not-a-parameter": 1})
        except ConfigError as error:
            found = error.field
        else:
            raise AssertionError("request_values accepted an unknown parameter")
        assert found == "not-a-parameter"

    def test_rows_of_other_requests_do_not_change(self) -> None:
        process, logits, requests = self._process(), self.logits(), self.requests()
        process.apply(logits=logits, requests=requests)
        others = [row for row in range(len(logits)) if row not in requests]
        assert torch.equal(logits[others], self.logits()[others])
        assert not logits.isnan().any()

    def test_a_request_has_the_same_row_alone_and_in_a_batch(self) -> None:
        together, requests = self.logits(), self.requests()
        process = self._process()
        process.apply(logits=together, requests=requests)
        for row, request in requests.items():
            process.end(request=request)
            alone = self.logits()
            self._process().apply(logits=alone, requests={row: request})
            torch.testing.assert_close(alone[row], together[row], atol=TOLERANCE, rtol=TOLERANCE)

    def test_an_answer_that_grew_step_by_step_is_that_of_a_request_that_came_back(self) -> None:
        """A preempted request ends, and returns with what it had answered."""
        process, answer = self._process(), list[int]()
        requests = {row: SteeredRequest(each.values, each.prompt, answer) for row, each in self.requests().items()}
        for token in (3, 1, 2):
            process.apply(logits=self.logits(), requests=requests)
            answer.append(token)
        stepped, returned = self.logits(), self.logits()
        process.apply(logits=stepped, requests=requests)
        again = {row: SteeredRequest(each.values, each.prompt, answer) for row, each in requests.items()}
        self._process().apply(logits=returned, requests=again)
        torch.testing.assert_close(stepped, returned, atol=TOLERANCE, rtol=TOLERANCE)

    def _process(self) -> Any:
        return self.plugin.from_settings(self.settings).open(engine=self.engine())
