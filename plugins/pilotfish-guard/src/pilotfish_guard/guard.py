"""The adaptation: checks of what is asked, and of each sentence that is answered."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task, Tier
from pilotfish.plugin_api.adaptations import (
    AnswerStream,
    Channel,
    Conversation,
    Escalate,
    Mode,
    Refused,
    Release,
    Rewritten,
    Role,
)
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import message_text
from pilotfish.plugin_api.sentences import LONGEST_SENTENCE, LOOKAHEAD, SentenceSplitter
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_guard.config import Action, Answers, Check, ClassifierRole, Config, Where
from pilotfish_guard.judging import JUDGE, probabilities
from pilotfish_guard.rules import rule_of

CHECKED_ROLES = frozenset({"user", "tool", "function"})
"""Whose messages are checked: retrieved content and tool results can hold instructions too."""
Finding = tuple[Check, float]
"""A check that found something, and how sure it is."""
Part = tuple[str, int]
"""A text, and the place in it from which it is new."""


class _Checks:
    """The checks of requests, or those of answers: first the rules, then those that ask a pool.

    `decides`: a finding can withhold something.
    """

    def __init__(self, checks: Sequence[Check], *, decides: bool = True) -> None:
        self._decides = decides
        self._rules = [(check, rule) for check in checks if (rule := rule_of(check))]
        self._asked = [check for check in checks if check.classifier or check.judge]

    def __bool__(self) -> bool:
        return bool(self._rules or self._asked)

    async def findings(self, texts: Sequence[Part], asked: Sequence[str], models: Models) -> list[Finding]:
        """What rules find in `texts`, and pools in `asked`. No pool is asked after a finding that refuses."""
        found = await models.compute(self._by_rules, texts) if self._rules else []
        for check in self._asked:
            if self._decides and any(each.action is not Action.FLAG for each, _ in found):
                break
            worst = max(await probabilities(check, asked, models), default=0.0)
            if 1000 * worst >= check.threshold_permille:
                found.append((check, worst))
        return found

    def _by_rules(self, texts: Sequence[Part]) -> list[Finding]:
        return [(check, 1.0) for check, rule in self._rules if any(rule(text, after) for text, after in texts)]


class Guard:
    """Refuses or flags requests and answers in which a check finds something."""

    config_model: ClassVar[type[Model]] = Config
    roles: ClassVar[tuple[Role, ...]] = (
        *(Role(role.value, Task.SCORE, optional=True) for role in ClassifierRole),
        Role(JUDGE, Task.GENERATE, Tier.SMALL, optional=True),
    )
    hold_tokens: ClassVar[int] = LONGEST_SENTENCE + LOOKAHEAD

    def __init__(self, config: Config) -> None:
        self.mode = Mode.OBSERVE if config.answers is Answers.OBSERVE else Mode.GATE
        self._on_request = _Checks(config.checks_of(Where.REQUEST))
        self._on_answer = _Checks(config.checks_of(Where.ANSWER), decides=self.mode is Mode.GATE)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | Refused | None:
        """Refuses the request by the first check that does, or notes what was found.

        Rules see all messages of users and tools. Pools are asked about those after the last answer: they were asked
        about the others before.
        """
        if not self._on_request:
            return None
        texts = [message_text(each) for each in conversation.messages if each.get("role") in CHECKED_ROLES]
        new = texts[len(texts) - _count_new(conversation.messages) :]
        found = await self._on_request.findings([(text, 0) for text in texts], new, models)
        notes = {"request": {check.name: round(probability, 4) for check, probability in found}}
        for check, _ in found:
            if check.action is Action.REFUSE:
                return Refused(check.error, notes)
        return Rewritten(conversation.messages, notes=notes) if found else None

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        """A stream that checks sentences, None where no check applies to answers."""
        if not self._on_answer:
            return None
        return _CheckedAnswer(self._on_answer, models, channel, observes=self.mode is Mode.OBSERVE)


class _CheckedAnswer:
    """The text of a choice, or the arguments of a tool call, checked sentence by sentence."""

    def __init__(self, checks: _Checks, models: Models, channel: Channel, *, observes: bool) -> None:
        self._checks = checks
        self._models = models
        self._observes = observes
        self._splitter = SentenceSplitter()
        self._text = ""
        self._released = False
        self._flags: dict[str, float] = {}
        call = "" if channel.tool_call is None else f" tool call {channel.tool_call}"
        self._key = f"answer {channel.choice}{call}" if channel.choice or call else "answer"

    async def push(self, text: str) -> Release | Escalate | Refused:
        """Check the sentences that are now complete, and release them."""
        return await self._checked([each.text for each in self._splitter.push(text)])

    async def end(self, finish_reason: str | None) -> Release | Escalate | Refused:
        """Check the rest, and release it."""
        return await self._checked([each.text for each in self._splitter.end()])

    async def _checked(self, sentences: Sequence[str]) -> Release | Escalate | Refused:
        texts = []
        for sentence in sentences:
            texts.append((self._text + sentence, len(self._text)))
            self._text += sentence
        found = await self._checks.findings(texts, sentences, self._models) if sentences else []
        for check, probability in found:
            self._flags[check.name] = max(self._flags.get(check.name, 0.0), round(probability, 4))
        for check, _ in found:
            if check.action is not Action.FLAG and not self._observes:
                return self._withheld(check)
        self._released = self._released or bool(sentences)
        return Release("".join(sentences), self._notes, held=len(self._splitter.held))

    def _withheld(self, check: Check) -> Escalate | Refused:
        refused = Refused(check.error, self._notes)
        if check.action is Action.ESCALATE and not self._released:
            return Escalate(f"the check {check.name!r} found something", refused, self._notes)
        return refused

    @property
    def _notes(self) -> Mapping[str, Any]:
        return {self._key: dict(self._flags)} if self._flags else {}


def _count_new(messages: Sequence[Mapping[str, Any]]) -> int:
    """The number of checked messages after the last message of the assistant."""
    count = 0
    for message in reversed(messages):
        if message.get("role") == "assistant":
            break
        count += message.get("role") in CHECKED_ROLES
    return count
