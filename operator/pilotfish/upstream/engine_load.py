"""The number of requests of an engine, from the metrics of its Ray node."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from pilotfish.base.errors import RuntimeFailure

_GAUGES = frozenset({"ray_vllm_num_requests_running", "ray_vllm_num_requests_waiting"})


async def requests_in_engine(http: aiohttp.ClientSession, url: str) -> int:
    """Running and waiting requests in the engines of the node. Raises RuntimeFailure if the node does not answer."""
    try:
        async with http.get(url) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RuntimeFailure(f"{url} does not answer: {error}") from error
    return in_engine(text)


def in_engine(exposition: str) -> int:
    """The same, from the metrics in Prometheus' text format."""
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(exposition)
            for sample in family.samples
            if sample.name in _GAUGES
        )
    )
