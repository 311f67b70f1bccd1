"""/metrics: this process's counters and gauges for Prometheus. Needs the extra `metrics`.

Each replica tells of itself alone, so each is to be scraped by itself and not through a balancer.
Everything is read from where it is kept anyway, at the moment when somebody asks; whose calls they
were is told only where the operator wants it, since others' work is nobody's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ...engine.answerers.limiter import Load
from ...schemas.errors import BadInput
from ..protocol.app import TextGradServer

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.registry import Collector, CollectorRegistry

    from ...engine.answerers.limiter import Limiters
    from ...engine.engine import Engine
    from ...engine.runs.meters import Meters
    from ...engine.store.backend import Busy

PATH = "/metrics"
Numbers = Mapping[tuple[str, ...], float]
"""Of a metric, by the values of its labels."""


def check_installed() -> None:
    """Raises BadInput where the library is not installed."""
    try:
        import prometheus_client  # noqa: F401
    except ModuleNotFoundError:
        raise BadInput(
            "/metrics needs the library prometheus-client.", "Install textgrad-mcp[metrics]."
        ) from None


def route(
    server: TextGradServer, reader: str, security: TransportSecuritySettings, *, owners: bool
) -> Route:
    """What answers /metrics, to the owner `reader` alone; without one, to whoever is on loopback.

    To others it is not there. With `owners`, calls are told by owner.
    """
    registry = _registry(server, owners=owners)
    guard = TransportSecurityMiddleware(security)

    async def metrics(request: Request) -> Response:
        from prometheus_client.exposition import choose_encoder

        user = request.scope.get("user")
        if reader:
            if not isinstance(user, AuthenticatedUser) or user.username != reader:
                return PlainTextResponse("Not Found", status_code=404)
        elif (refused := await guard.validate_request(request)) is not None:
            return refused
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": kind})

    return Route(PATH, metrics)


def _registry(server: TextGradServer, *, owners: bool) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_collector(server, owners=owners))
    return registry


def _collector(server: TextGradServer, *, owners: bool) -> Collector:
    from prometheus_client.registry import Collector

    class OfServer(Collector):
        """Reads the server and its engine."""

        def collect(self) -> Iterable[Metric]:
            """All there is to tell now."""
            yield from _of_tools(server.calls)
            engine = server.host.opened if server.host is not None else None
            if engine is not None:
                yield from _of_calls(engine.ledger.meters, owners=owners)
                yield from _of_runs(engine)
                yield from _of_store(engine.store.db.busy)
            if server.host is not None and server.host.limiters is not None:
                yield from _of_endpoints(server.host.limiters)

    return OfServer()


def _of_tools(calls: Mapping[tuple[str, str], int]) -> Iterator[Metric]:
    numbers: Numbers = {(tool, status): number for (tool, status), number in calls.items()}
    yield _counter("tool_calls", "Tool calls, by what they ended in.", ("tool", "status"), numbers)


def _of_calls(meters: Meters, *, owners: bool) -> Iterator[Metric]:
    by = ("owner", "role") if owners else ("role",)
    for name, words, more, numbers in (
        ("requests", "Requests to models, by what came of them.", ("outcome",), meters.attempts),
        ("retries", "Requests after which the same was asked again.", (), meters.retries),
        ("request_seconds", "Seconds that requests to models took.", (), meters.seconds),
        ("tokens", "Tokens, by kind.", ("kind",), meters.tokens),
        ("cost_dollars", "Dollars, where prices are set.", (), meters.dollars),
    ):
        yield _counter(name, words, (*by, *more), _added(numbers, owners=owners))


def _added(numbers: Numbers, *, owners: bool) -> Numbers:
    """The numbers by owner, role and what else there is; or added up over the owners."""
    found: dict[tuple[str, ...], float] = {}
    for key, number in numbers.items():
        labels = key if owners else key[1:]
        found[labels] = found.get(labels, 0.0) + number
    return found


def _of_runs(engine: Engine) -> Iterator[Metric]:
    heart = engine.runs.heart
    yield _gauge("runs", "Runs under way in this process.", heart.count)
    words = "Seconds since this process last showed that it goes on with its runs."
    yield _gauge("lease_age_seconds", words, heart.age)
    words = "Seconds since a process with a run was last seen to live, the quietest one."
    yield _gauge("others_silence_seconds", words, engine.runs.sightings.silence)


def _of_store(busy: Busy) -> Iterator[Metric]:
    yield _gauge("store_queue", "Jobs that wait for the database.", busy.waiting)
    words = "Sessions whose jobs wait for a connection to the database."
    yield _gauge("store_pool_waiting", words, busy.unconnected)
    for name, words, number in (
        ("retries", "Transactions that were undone and begun again.", busy.retries),
        ("unknown_commits", "Commits without a reply, which were looked up.", busy.unknown),
        ("round_trips", "Trips to the database's server.", busy.trips),
    ):
        yield _counter(f"store_{name}", words, (), {(): number})


def _of_endpoints(limiters: Limiters) -> Iterator[Metric]:
    words = ("Calls in flight.", "Calls that wait for that.", "Calls that may be in flight.")
    for place, name in enumerate(Load._fields):
        numbers: dict[tuple[str, ...], float] = {}
        for endpoint, load in limiters.loads().items():
            key = (_host(endpoint),)
            numbers[key] = numbers.get(key, 0.0) + load[place]
        yield _gauges(f"endpoint_{name}", words[place], ("endpoint",), numbers)


def _host(endpoint: str) -> str:
    """Where an endpoint is, without what else its address may tell."""
    return urlsplit(endpoint).netloc.rpartition("@")[2]


def _counter(name: str, words: str, labels: tuple[str, ...], numbers: Numbers) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"textgrad_{name}", words, labels=labels)
    for key, number in numbers.items():
        family.add_metric(key, number)
    return family


def _gauges(name: str, words: str, labels: tuple[str, ...], numbers: Numbers) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"textgrad_{name}", words, labels=labels)
    for key, number in numbers.items():
        family.add_metric(key, number)
    return family


def _gauge(name: str, words: str, number: float) -> Metric:
    return _gauges(name, words, (), {(): number})
