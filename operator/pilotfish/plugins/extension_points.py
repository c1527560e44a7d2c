"""The extension points: for each entry-point group, the protocols that a plugin of the group may implement."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from typing_extensions import get_protocol_members

from pilotfish.plugin_api.adaptations import OnAnswer, OnRequest
from pilotfish.plugin_api.logits import LogitsPlugin
from pilotfish.plugin_api.scorers import AnswerScorer, JudgeScorer, PromptScorer
from pilotfish.plugin_api.sources import Source

T = TypeVar("T")


@dataclass(frozen=True)
class ExtensionPoint(Generic[T]):
    """An entry-point group and the protocols one of which its plugins implement. T is the type of what is loaded.

    `protocols` is empty for a group whose plugins are loaded elsewhere, and not checked here.
    """

    group: str
    protocols: tuple[type, ...] = ()

    def check(self, plugin: object) -> T:
        """The plugin, if it is a class that implements one of the protocols. Raises TypeError that names what is
        missing for the protocols that it is closest to.
        """
        if self.protocols:
            if not isinstance(plugin, type):
                raise TypeError("is not a class")
            faults = {protocol.__name__: tuple(_faults(plugin, protocol)) for protocol in self.protocols}
            if all(faults.values()):
                raise TypeError(_closest(faults))
        return cast("T", plugin)


@dataclass(frozen=True, slots=True)
class _MemberFault:
    text: str
    missing: bool = False


def _closest(faults: Mapping[str, tuple[_MemberFault, ...]]) -> str:
    missing = {name: sum(fault.missing for fault in found) for name, found in faults.items()}
    least = min(missing.values())
    closest = [
        f"{name}: {'; '.join(fault.text for fault in found)}"
        for name, found in faults.items()
        if missing[name] == least
    ]
    return f"does not implement {' or '.join(closest)}"


def _faults(plugin: type, protocol: type) -> Iterator[_MemberFault]:
    """What keeps a class from being a `protocol`: methods alone, because attributes may be set when it is made."""
    for name in sorted(get_protocol_members(protocol)):
        wanted = getattr(protocol, name, None)
        if not callable(wanted):
            continue
        found = getattr(plugin, name, None)
        if found is None:
            yield _MemberFault(f"method `{name}` is missing", missing=True)
        elif not callable(found):
            yield _MemberFault(f"`{name}` is not a method")
        elif inspect.iscoroutinefunction(wanted) and not inspect.iscoroutinefunction(found):
            yield _MemberFault(f"method `{name}` must be `async def`")
        elif inspect.iscoroutinefunction(found) and not inspect.iscoroutinefunction(wanted):
            yield _MemberFault(f"method `{name}` must not be `async def`")
        elif text := _refused_call(found, wanted):
            yield _MemberFault(f"method `{name}` must accept {_parameters(wanted)}: {text}")


def _refused_call(found: Callable[..., Any], wanted: Callable[..., Any]) -> str:
    """Why a method cannot be called as the protocol's is called, or an empty string."""
    parameters = inspect.signature(wanted).parameters.values()
    positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    named = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    try:
        inspect.signature(found).bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        return str(error)
    except ValueError:  # a class of an extension module has no signature to look at
        return ""
    return ""


def _parameters(method: Callable[..., Any]) -> inspect.Signature:
    """A method's parameters without their types."""
    parameters = inspect.signature(method).parameters.values()
    return inspect.Signature([each.replace(annotation=each.empty) for each in parameters])


ScorerType = type[AnswerScorer] | type[JudgeScorer] | type[PromptScorer]

SCORERS: ExtensionPoint[ScorerType] = ExtensionPoint("pilotfish.scorers", (AnswerScorer, JudgeScorer, PromptScorer))
SOURCES: ExtensionPoint[type[Source]] = ExtensionPoint("pilotfish.sources", (Source,))
ADAPTATIONS: ExtensionPoint[type[OnRequest] | type[OnAnswer]] = ExtensionPoint(
    "pilotfish.adaptations", (OnRequest, OnAnswer)
)
LOGITS: ExtensionPoint[type[LogitsPlugin]] = ExtensionPoint("pilotfish.logits", (LogitsPlugin,))

EXTENSION_POINTS: tuple[ExtensionPoint[Any], ...] = (SCORERS, SOURCES, ADAPTATIONS, LOGITS)
