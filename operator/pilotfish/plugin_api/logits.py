"""Logits plugins (`pilotfish.logits`): change the scores of the next token, inside the engine.

An entry point names a class that implements `LogitsPlugin`. The operator, `pilotfish validate` and the engine's server
load it to check its config and its parameters, so its module must not import torch. `open` is called in each process
of the engine, and may.

A client sets a parameter of a plugin in `vllm_xargs`, as `<type>.<parameter>`: `{"proxy-tuning.alpha": 0.5}`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from pydantic import ValidationError

from pilotfish.api.common import Model
from pilotfish.api.validation import message_of
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.settings import FromSettings

if TYPE_CHECKING:
    import torch

ArgumentsT = TypeVar("ArgumentsT", bound=Model)


@dataclass(frozen=True, slots=True)
class ModelRole:
    """A model that a plugin runs beside the pool's own: the name of its role in `spec.logits[].models`."""

    name: str
    optional: bool = False


@dataclass(frozen=True)
class EngineProcess:
    """One process of an engine, as a plugin sees it. With tensor parallelism, every process computes the same rows."""

    device: "torch.device"
    dtype: "torch.dtype"
    """Of the pool's own model."""
    max_model_length: int
    """Tokens of a prompt and its answer together."""
    max_requests: int
    """Requests of one step."""
    max_step_tokens: int
    """Tokens that the pool's own model computes in one step."""
    tokenizer: Path
    """Folder of the tokenizer of the pool's own model."""
    models: Mapping[str, Path]
    """Folder of each model's weights, by role. Their vocabularies equal that of the pool's model."""
    rank: int = 0
    ranks: int = 1
    """Processes that share the model by tensor parallelism, and the number of this one among them."""
    broadcast: Callable[["torch.Tensor", int], "torch.Tensor"] = lambda tensor, source: tensor
    """Fills the tensor with that of the process `source`, in place, and returns it. Every process must call it."""


@dataclass(eq=False, slots=True)
class SteeredRequest:
    """One request of the engine's batch. `prompt` and `output` are token ids; `output` grows from step to step.

    A request that the engine preempts ends, and returns as another one.
    """

    values: Any
    """What the plugin's `request_values` returned."""
    prompt: Sequence[int]
    output: Sequence[int]


class LogitsProcess(Protocol):
    """A plugin at work in one process of an engine."""

    def apply(self, *, logits: "torch.Tensor", requests: Mapping[int, SteeredRequest]) -> None:
        """Change the logits of the next token in place.

        `logits` are float32 [requests, vocabulary], with a row for every request of the step. `requests` are those to
        steer, by row. A row may belong to a prompt that the engine has not computed to its end: its logits are not
        used. Processes of one engine must write equal values. What is raised here stops the engine.
        """

    def end(self, *, request: SteeredRequest) -> None:
        """Free what is kept for a request, which is not in the batch any more."""


@runtime_checkable
class LogitsPlugin(FromSettings, Protocol):
    """Changes the scores of the next token."""

    @property
    def roles(self) -> tuple[ModelRole, ...]:
        """The models that the plugin runs with its config."""

    @classmethod
    def request_values(cls, *, arguments: Mapping[str, Any]) -> Any:
        """The values of one request from its arguments of this plugin, by parameter: numbers, strings, or lists of
        them. Raises ConfigError with the parameter as its field; the client gets status 400.
        """

    def open(self, *, engine: EngineProcess) -> LogitsProcess:
        """Load the models and allocate the memory, all of it: the engine takes what is left for its KV cache."""


def read_arguments(model: type[ArgumentsT], arguments: Mapping[str, Any]) -> ArgumentsT:
    """The arguments of a request as a `model`. Raises ConfigError with the name of the first invalid parameter."""
    try:
        return model.model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(".".join(str(part) for part in first["loc"]), message_of(first)) from error
