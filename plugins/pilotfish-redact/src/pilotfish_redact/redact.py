"""The adaptation: what leaves is masked, what comes back is restored."""

import secrets
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from typing import Annotated, Any, ClassVar, Self

import phonenumbers
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from pilotfish.api.common import Model, list_set
from pilotfish.plugin_api.adaptations import AnswerStream, Channel, Conversation, Mode, Refused, Rewritten, Role, Scope
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import message_text
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_redact import names, numbers, strings
from pilotfish_redact.masking import Masked, Unmaskable, mask
from pilotfish_redact.placeholders import LONGEST, Restorer, RestoringStream
from pilotfish_redact.spans import Kind, Span
from pilotfish_redact.view import view_of


class Pools(StrEnum):
    """The pools whose calls are masked."""

    EXTERNAL = "External"
    ALL = "All"


class Attachments(StrEnum):
    """What happens to images, sounds and files, which cannot be masked."""

    REFUSE = "Refuse"
    SEND = "Send"


def _known_region(region: str) -> str:
    if region not in phonenumbers.SUPPORTED_REGIONS:
        raise PydanticCustomError("region", "is no region of phone numbers: use a code of two letters such as DE")
    return region


class Config(Model):
    """What is masked, and where."""

    pools: Pools = Pools.EXTERNAL
    """The pools whose calls are masked: those outside of the installation, or all."""
    kinds: Annotated[tuple[Kind, ...], *list_set(minimum=1, maximum=len(Kind))] = tuple(Kind)
    """What is masked. `Name` needs a pool of the role `names`."""
    regions: Annotated[tuple[Annotated[str, AfterValidator(_known_region)], ...], *list_set(maximum=20)] = (
        "DE",
        "FR",
        "GB",
        "NL",
        "US",
    )
    """The regions whose phone numbers are found without a country code."""
    keep: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], *list_set(maximum=1000)] = ()
    """Values that are not masked, such as the address of the support desk. Case does not matter."""
    attachments: Attachments = Attachments.REFUSE
    """What happens to a call with an image, a sound or a file, which cannot be masked."""


class Redact:
    """Replaces personal data by placeholders in every call of an external pool, and restores it in the answer.

    The key of the placeholders is made with the object and kept in memory alone.
    """

    scope: ClassVar[Scope] = Scope.CALL
    protects: ClassVar[bool] = True
    mode: ClassVar[Mode] = Mode.REWRITE
    hold_tokens: ClassVar[int] = LONGEST
    roles: ClassVar[tuple[Role, ...]] = (Role(names.ROLE, optional=True),)
    config_model: ClassVar[type[Model]] = Config

    def __init__(self, config: Config) -> None:
        self._config = config
        self._kept = frozenset(value.casefold() for value in config.keep)
        self._key = secrets.token_bytes(32)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | Refused | None:
        """The conversation with placeholders, None where nothing is to be masked. Refuses what cannot be masked."""
        pool = conversation.pool
        if self._config.pools is Pools.EXTERNAL and pool is not None and not pool.external:
            return None
        people: frozenset[str] = frozenset()
        if Kind.NAME in self._config.kinds and models.has(names.ROLE):
            people = await names.names_in(map(message_text, conversation.messages), models)
        try:
            masked = await models.compute(self._mask, conversation, people)
        except Unmaskable as error:
            return Refused(f"this request cannot be sent to pool {pool.name if pool else ''!r}: {error}")
        if masked is None:
            return None
        tools = masked.tools if conversation.tools else None
        notes = {"masked": dict(masked.counts)}
        return Rewritten(masked.messages, tools, Restorer(masked.values), notes, masked.parameters)

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        """Restores values, escaped in the arguments of a tool call. None where nothing was masked."""
        if not isinstance(state, Restorer):
            return None
        return RestoringStream(state, json_string=channel.tool_call is not None)

    def _mask(self, conversation: Conversation, people: frozenset[str]) -> Masked | None:
        attachments = self._config.attachments is Attachments.SEND
        return mask(conversation, lambda text: self._spans(text, people), self._key, attachments=attachments)

    def _spans(self, text: str, people: frozenset[str]) -> Iterator[Span]:
        """What is to be masked in a text."""
        view = view_of(text)
        seen = (Span(*view.original(span.start, span.end), span.kind) for span in self._seen(view.text))
        for span in chain(seen, names.name_spans(text, people)):
            if text[span.start : span.end].casefold() not in self._kept:
                yield span

    def _seen(self, text: str) -> Iterator[Span]:
        """What recognisers see in the view of a text."""
        kinds = self._config.kinds
        found = (
            strings.secrets(text) if Kind.SECRET in kinds else (),
            strings.emails(text) if Kind.EMAIL in kinds else (),
            strings.ip_addresses(text) if Kind.IP_ADDRESS in kinds else (),
            numbers.ibans(text) if Kind.IBAN in kinds else (),
            numbers.cards(text) if Kind.CARD in kinds else (),
            numbers.national_ids(text) if Kind.NATIONAL_ID in kinds else (),
            numbers.phones(text, self._config.regions) if Kind.PHONE in kinds else (),
        )
        return chain.from_iterable(found)
