"""How many requests an engine has, from the metrics of the Ray node that it runs on."""

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from pilotfish.base.errors import RuntimeFailure

_GAUGES = frozenset({"ray_vllm_num_requests_running", "ray_vllm_num_requests_waiting"})


async def requests_in_engine(http: aiohttp.ClientSession, url: str) -> int:
    """Requests that run or wait in the engines of the node. Raises RuntimeFailure when the node does not say."""
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
