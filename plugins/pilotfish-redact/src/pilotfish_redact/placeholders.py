"""Placeholders: what stands for a value while it is away, and its way back.

A placeholder is a label and letters made from the value with a secret key, such as `EMAIL-VXRBKQDZLM`. The same value
has the same placeholder in every message and every call, so that the model can relate them. It has no character that
Markdown, JSON, HTML or URLs escape.

No label, nor any part of one, begins inside of another placeholder: none of the letters begins a label. What stands
beside a placeholder can therefore never make it another one.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pilotfish.plugin_api.adaptations import Release
from pilotfish_redact.spans import Kind

LABELS = {
    Kind.EMAIL: "EMAIL",
    Kind.IBAN: "IBAN",
    Kind.CARD: "CARD",
    Kind.PHONE: "PHONE",
    Kind.IP_ADDRESS: "IP",
    Kind.NATIONAL_ID: "ID",
    Kind.SECRET: "SECRET",
    Kind.NAME: "NAME",
}
LETTERS = str.maketrans("0123456789abcdef", "BDFGHJKLMQRTVWXZ")
"""Sixteen letters, none of which begins a label, and no vowel."""
CODE = 10
LONGEST = max(map(len, LABELS.values())) + 1 + CODE
"""Characters of the longest placeholder."""


@dataclass
class Placeholders:
    """The placeholders of one call. `written` is all that the call contains: no placeholder is part of it."""

    key: bytes
    written: Collection[str]
    _by_value: dict[str, str] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)

    def of(self, value: str, kind: Kind) -> str:
        """The placeholder of a value. `kind` is its label's, where the value is new."""
        if value not in self._by_value:
            placeholder = self._unused(value, kind)
            self._by_value[value] = placeholder
            self._values[placeholder] = value
        return self._by_value[value]

    @property
    def values(self) -> Mapping[str, str]:
        """The value of each placeholder."""
        return self._values

    def _unused(self, value: str, kind: Kind) -> str:
        tried = 0
        while True:
            made = hmac.new(self.key, f"{tried}:{value}".encode("utf-8", "surrogatepass"), hashlib.sha256)
            placeholder = f"{LABELS[kind]}-{made.hexdigest()[:CODE].translate(LETTERS)}"
            if placeholder not in self._values and not any(placeholder in text for text in self.written):
                return placeholder
            tried += 1


class Restorer:
    """Puts values back in the place of their placeholders. `values` has the value of each placeholder."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values
        self._pattern = re.compile("|".join(map(re.escape, values)))
        self._starts = frozenset(each[:length] for each in values for length in range(1, len(each)))

    def restore(self, text: str, *, json_string: bool) -> str:
        """The text with the values of its placeholders. `json_string`: it is inside of a string of JSON."""

        def value(found: re.Match[str]) -> str:
            restored = self.values[found[0]]
            return json.dumps(restored, ensure_ascii=False)[1:-1] if json_string else restored

        return self._pattern.sub(value, text)

    def held(self, text: str) -> int:
        """The length of the longest end of the text that begins a placeholder and is not a whole one."""
        return next((size for size in range(min(LONGEST, len(text)), 0, -1) if text[-size:] in self._starts), 0)


@dataclass
class RestoringStream:
    """An answer stream that holds back only what may become a placeholder."""

    restorer: Restorer
    json_string: bool
    _held: str = ""

    async def push(self, text: str) -> Release:
        """The text with values, without an end that begins a placeholder."""
        text = self._held + text
        size = self.restorer.held(text)
        kept, self._held = text[: len(text) - size], text[len(text) - size :]
        return Release(self.restorer.restore(kept, json_string=self.json_string))

    async def end(self, finish_reason: str | None) -> Release:
        """What was held: no placeholder."""
        rest, self._held = self._held, ""
        return Release(rest)
