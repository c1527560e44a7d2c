"""Which addresses of a pool fail, and for how long others are preferred to them.

This is passive outlier ejection: an address that fails several times in a row is ejected for a time that doubles with
each ejection. Its next failure after that time ejects it again, and its next success ends the ejections. At most half
of the addresses of a call are ejected. An ejected address is still asked where all others cannot be reached.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from pilotfish.routing.snapshot import Endpoint

FAILURES_IN_A_ROW = 3
FIRST_EJECTION_SECONDS = 1.0
LONGEST_EJECTION_SECONDS = 60.0
RETRIES_PER_CALL = 0.2
"""Calls that failed are made again at another address for at most this share of an address's calls."""
MOST_SAVED_RETRIES = 10.0
REMEMBERED_ADDRESSES = 4096


@dataclass(slots=True)
class _Address:
    failures: int = 0
    ejections: int = 0
    ejected_until: float = 0.0
    retries: float = MOST_SAVED_RETRIES


class EndpointHealth:
    """What calls to addresses came to. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def preferred(self, endpoints: Sequence[Endpoint], now: float) -> Sequence[Endpoint]:
        """The addresses in the order given, those that are ejected last."""
        if len(endpoints) < 2:
            return endpoints
        ejected = [each for each in endpoints if self._ejected_until(each) > now]
        if not ejected:
            return endpoints
        # those that return first stay in use, so that at most half of the addresses carry no load
        ejected.sort(key=self._ejected_until, reverse=True)
        last = ejected[: len(endpoints) // 2]
        return [each for each in endpoints if each not in last] + last[::-1]

    def succeeded(self, base_url: str) -> None:
        """The address answered, also where it refused the request."""
        address = self._address(base_url)
        address.failures = address.ejections = 0
        address.ejected_until = 0.0
        self._save_retry(address)

    def failed(self, base_url: str, now: float) -> None:
        """The address could not be reached, or failed."""
        address = self._address(base_url)
        self._save_retry(address)
        if now < address.ejected_until:
            return  # a call from before the ejection
        address.failures += 1
        if address.failures >= FAILURES_IN_A_ROW:
            seconds = FIRST_EJECTION_SECONDS * 2.0 ** min(address.ejections, 16)
            address.ejected_until = now + min(seconds, LONGEST_EJECTION_SECONDS)
            address.ejections += 1

    def may_retry(self, base_url: str) -> bool:
        """Whether a call that failed at this address may be made again elsewhere. Counts as done where it may."""
        address = self._address(base_url)
        if address.retries < 1:
            return False
        address.retries -= 1
        return True

    def _ejected_until(self, endpoint: Endpoint) -> float:
        address = self._addresses.get(endpoint.base_url)
        return address.ejected_until if address else 0.0

    def _save_retry(self, address: _Address) -> None:
        address.retries = min(MOST_SAVED_RETRIES, address.retries + RETRIES_PER_CALL)

    def _address(self, base_url: str) -> _Address:
        found = self._addresses.get(base_url)
        if found is None:
            found = self._addresses[base_url] = _Address()
            if len(self._addresses) > REMEMBERED_ADDRESSES:
                self._addresses.popitem(last=False)
        return found
