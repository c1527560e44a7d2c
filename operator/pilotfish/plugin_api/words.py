"""Words of a text, for measures that compare words."""

import re

_WORD = re.compile(r"[\u2e80-\uffef]|[^\W_\u2e80-\uffef]+")


def words(text: str) -> list[str]:
    """Every word in order, case folded. In scripts without spaces between words, each character counts as a word."""
    return _WORD.findall(text.casefold())
