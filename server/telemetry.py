"""OpenTelemetry: spans leave this process when the standard environment asks for them.

The protocol's SDK makes a span of every tool call and takes up the client's trace from `_meta`;
the engine makes one of every completion. Both use the API alone and cost nothing until a provider
is set up here, which needs the `otel` extra and is imported only when asked for.

    OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT)   spans go there by OTLP over HTTP
    OTEL_TRACES_EXPORTER                                   otlp, console (on stderr), none
    OTEL_SDK_DISABLED=true                                 nothing at all
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
LAST_SECONDS = 2.0
"""How long the end waits for a collector that does not answer."""
PACKAGES = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


@contextmanager
def tracing(environ: Mapping[str, str]) -> Iterator[None]:
    """Export spans for the length of the block, if `environ` asks for it; the rest is sent at the
    end. What cannot be had is said on stderr and left out: nobody's work waits for telemetry."""
    provider = _provider(asked(environ), environ)
    try:
        yield
    finally:
        if provider is not None:
            finish()


def finish() -> None:
    """Send what is left, if anything is sent: for the end of a process, however it comes."""
    from opentelemetry.trace import get_tracer_provider

    shutdown = getattr(get_tracer_provider(), "shutdown", None)
    if shutdown is not None:
        last = threading.Thread(target=shutdown, daemon=True)
        last.start()
        last.join(LAST_SECONDS)


def asked(environ: Mapping[str, str]) -> list[str]:
    """The exporters that the standard environment names; none where it says nothing."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    named = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not named and any(environ.get(name) for name in ENDPOINTS):
        named = "otlp"
    found = dict.fromkeys(name.strip().lower() for name in named.split(","))
    return [name for name in found if name not in ("", "none")]


def note(facts: Mapping[str, Any]) -> None:
    """Put a tool result's session and status on the span of the call under way."""
    from opentelemetry.trace import get_current_span

    span = get_current_span()
    if not span.is_recording():
        return
    names = {"session_id": "gen_ai.conversation.id", "run": "textgrad.run"}
    names["status"] = "textgrad.status"
    span.set_attributes({to: facts[key] for key, to in names.items() if facts.get(key)})


def _provider(names: list[str], environ: Mapping[str, str]) -> TracerProvider | None:
    """A provider set up for the whole process, or None where one is not wanted or stands."""
    exporters = _exporters(names, environ)
    if not exporters:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None  # whoever started this process set one up already
    resource = Resource.create({"service.version": VERSION})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "textgrad-mcp"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _exporters(names: list[str], environ: Mapping[str, str]) -> list[SpanExporter]:
    found = []
    for name in names:
        try:
            found.append(_exporter(name, environ))
        except LookupError as missing:
            print(
                f"textgrad-mcp: no traces by {name!r}: {missing}. Install textgrad-mcp[otel] for "
                "otlp over http/protobuf (OTEL_EXPORTER_OTLP_PROTOCOL) and console, or set "
                "OTEL_TRACES_EXPORTER=none.",
                file=sys.stderr,
            )
    return found


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    """An exporter by its name. Raises LookupError, in words, where it is not installed."""
    from importlib.metadata import entry_points

    if name == "console":
        return _console()
    wanted = name
    if name == "otlp":
        protocol = next((environ[p] for p in PROTOCOLS if environ.get(p)), "http/protobuf")
        wanted = PACKAGES.get(protocol, protocol)
    for point in entry_points(group="opentelemetry_traces_exporter", name=wanted):
        exporter: SpanExporter = point.load()()
        return exporter
    raise LookupError(f"the exporter {wanted} is not installed")


def _console() -> SpanExporter:
    """On stderr: stdout belongs to the protocol. Raises LookupError without the SDK."""
    try:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter
    except ModuleNotFoundError as error:
        raise LookupError(f"{error.name} is not installed") from error
    return ConsoleSpanExporter(out=sys.stderr)
