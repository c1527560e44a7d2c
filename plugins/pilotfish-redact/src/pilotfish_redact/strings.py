"""Addresses and secrets in a text."""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from pilotfish_redact.spans import Kind, Span

EMAIL = re.compile(r"(?<![\w.+%~-])\w[\w.!#%&'*+~-]*@(?:[\w-]{1,63}\.){1,10}[^\W\d_](?:[\w-]{0,61}[^\W_])")
IPV4 = re.compile(r"(?<![A-Za-z0-9_.])(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9_]|\.\d)")
IPV6 = re.compile(r"(?<![0-9A-Za-z_])[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(?![0-9A-Za-z_])")
LABELS = 3
"""Words with a colon that may stand before an address, such as `add:` in `add:2001:db8::1`."""
USER_AND_PASSWORD = re.compile(r"(?<=://)[^\s/?#\"'<>@]{0,200}:[^\s\"'<>]{0,200}(?=@)")
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
KNOWN_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{20,}|[srp]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}"
    r"|gh[oprsu]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|gl(?:pat|dt|rt)-[A-Za-z0-9_-]{20,}"
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|A(?:KIA|SIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|hf_[A-Za-z0-9]{30,}"
    r"|do[opr]_v1_[a-f0-9]{40,}|shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}|dapi[a-f0-9]{32}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r")"
)
ASSIGNED = re.compile(
    r"(?:passw(?:or)?d|passwd|pwd|secret|token|(?:api|access|private|account)[ _-]?key)[A-Za-z0-9_-]{0,20}"
    r"[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"',;&<>]{6,})"
    r"|\b(?:bearer|basic)\s+(?P<header>[A-Za-z0-9+/=_.~-]{16,})",
    re.IGNORECASE,
)
RANDOM = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}={0,2}")
RANDOM_BITS = 3.5
"""Bits of entropy in a character from which a string counts as random."""
RANDOM_CHANGES = 0.35
"""Changes between capitals, small letters and digits, for each character, from which a string counts as random."""


def emails(text: str) -> Iterator[Span]:
    """E-mail addresses, also of international domains."""
    for found in EMAIL.finditer(text):
        yield Span(found.start(), found.end(), Kind.EMAIL)


def ip_addresses(text: str) -> Iterator[Span]:
    """IP addresses, except those that mean every machine's own."""
    for found in IPV4.finditer(text):
        if _is_personal(found[0]):
            yield Span(found.start(), found.end(), Kind.IP_ADDRESS)
    for found in IPV6.finditer(text):
        for start, end in _parts(found):
            if _is_personal(text[start:end]):
                yield Span(start, end, Kind.IP_ADDRESS)
                break


def _parts(found: re.Match[str]) -> Iterator[tuple[int, int]]:
    """The spans that may be the address in a row of colons and hexadecimal digits, the longest first."""
    starts = [found.start(), *(found.start() + colon.end() for colon in re.finditer(":", found[0]))]
    for start in starts[: LABELS + 1]:
        for end in range(found.end(), found.end() - 3, -1):
            yield start, end


def secrets(text: str) -> Iterator[Span]:
    """Credentials in URLs, private keys, keys of known services, values of passwords and tokens, random strings."""
    for pattern in (USER_AND_PASSWORD, PRIVATE_KEY, KNOWN_KEYS):
        for found in pattern.finditer(text):
            yield Span(found.start(), found.end(), Kind.SECRET)
    for found in ASSIGNED.finditer(text):
        group = "value" if found["value"] else "header"
        if re.search(r"[A-Za-z]", found[group]) and re.search(r"[\d!@#$%^*?+]", found[group]):
            yield Span(*found.span(group), Kind.SECRET)
    for found in RANDOM.finditer(text):
        if _is_random(found[0]):
            yield Span(found.start(), found.end(), Kind.SECRET)


def _is_personal(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    # `a::b` is more often C++ than a network.
    written = sum(map(bool, address.split(":"))) if parsed.version == 6 else 4
    return written >= 3 - parsed.is_link_local and not parsed.is_loopback and not parsed.is_unspecified


def _is_random(string: str) -> bool:
    """Whether a string has capitals, small letters and digits, without order."""
    kinds = ["A" if letter.isupper() else "a" if letter.islower() else "0" for letter in string if letter.isalnum()]
    if set(kinds) != {"A", "a", "0"}:
        return False
    changes = sum(first != second for first, second in pairwise(kinds)) / len(kinds)
    counts = Counter(string).values()
    bits = -sum(count / len(string) * math.log2(count / len(string)) for count in counts)
    return changes >= RANDOM_CHANGES and bits >= RANDOM_BITS
