"""Spans of tool calls and completions: what is in them, what never is, and when they are sent."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from textgrad_mcp.engine.answerers import Attempt, spans
from textgrad_mcp.engine.answerers.openai import OpenAIAnswerer
from textgrad_mcp.schemas.completions import CompletionRequest, Message, Purpose
from textgrad_mcp.schemas.errors import EndpointRefused
from textgrad_mcp.schemas.settings import RoleSettings
from textgrad_mcp.server.telemetry import asked, tracing

from ..helpers import Tools, endpoint, printed_by
from ..standin import Fault, StandIn

KEY = "sk-a-key-that-nobody-may-see"
SECRET = "the words of the prompt"
TRACE, PARENT = 0x0123456789ABCDEF0123456789ABCDEF, 0x0123456789ABCDEF
REQUEST = CompletionRequest(
    purpose=Purpose.FORWARD,
    messages=(Message(role="system", content="Be kind."), Message(role="user", content=SECRET)),
    params={"temperature": 0.5, "max_tokens": 7},
)
Facts = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_telemetry_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "TEXTGRAD_MCP_")):
            monkeypatch.delenv(name)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the engine's spans go in this process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "tracer", provider.get_tracer("test"))
    return exporter


def span_of(kept: InMemorySpanExporter, server: StandIn, role: RoleSettings) -> ReadableSpan:
    """The span of one completion, had or not."""

    async def main() -> None:
        answerer = OpenAIAnswerer(role, backoff=0.001)
        try:
            await answerer.answer(REQUEST, _unrecorded)
        except EndpointRefused:
            assert server.log
        finally:
            await answerer.close()

    asyncio.run(main())
    [span] = kept.get_finished_spans()
    return span


async def _unrecorded(_: Attempt) -> None:
    """The ledger's part, which is not tested here."""


def test_a_completion_is_a_client_span_by_the_conventions(kept: InMemorySpanExporter) -> None:
    with StandIn() as server:
        span = span_of(kept, server, endpoint(server, params={"seed": 3, "max_tokens": 99}))
        host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")
    facts = dict(span.attributes or {})
    assert (span.name, span.kind) == ("chat m", trace.SpanKind.CLIENT)
    usage = {facts.pop(f"gen_ai.usage.{which}_tokens") for which in ("input", "output")}
    assert all(isinstance(n, int) and n > 0 for n in usage)
    assert facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.output.type": "text",
        "gen_ai.request.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.seed": 3,
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": host,
        "server.port": int(port),
        "textgrad.attempts": 1,
        "textgrad.purpose": "forward",
    }
    assert SECRET not in span.to_json()


def test_a_span_holds_words_but_no_key_when_the_environment_asks_for_words(
    kept: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(spans.CAPTURE, "span_only")
    with StandIn(reply=lambda _: "the reply", key=KEY) as server:
        span = span_of(kept, server, endpoint(server, api_key=KEY))
    assert KEY not in span.to_json()
    facts = dict(span.attributes or {})
    asked_for = json.loads(str(facts["gen_ai.input.messages"]))
    assert asked_for == [{"role": "user", "parts": [{"type": "text", "content": SECRET}]}]
    assert json.loads(str(facts["gen_ai.system_instructions"]))[0]["content"] == "Be kind."
    [reply] = json.loads(str(facts["gen_ai.output.messages"]))
    assert (reply["parts"][0]["content"], reply["finish_reason"]) == ("the reply", "stop")


def test_retries_are_events_of_one_span(kept: InMemorySpanExporter) -> None:
    with StandIn(faults={1: Fault(status=503), 2: Fault(status=429)}) as server:
        span = span_of(kept, server, endpoint(server, retries=3))
    kinds = [(e.attributes or {})["error.type"] for e in span.events]
    assert kinds == ["http_503", "http_429"]
    assert (span.attributes or {})["textgrad.attempts"] == 3
    assert span.status.status_code is trace.StatusCode.UNSET


def test_a_failed_completion_says_its_kind_and_not_what_the_endpoint_said(
    kept: InMemorySpanExporter,
) -> None:
    said = json.dumps({"error": {"message": f"no model for '{SECRET}' with {KEY}"}})
    with StandIn(faults={1: Fault(status=404, raw=said)}) as server:
        span = span_of(kept, server, endpoint(server, api_key=KEY))
    assert (span.attributes or {})["error.type"] == "http_404"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert [word for word in (SECRET, KEY) if word in span.to_json()] == []


@pytest.mark.parametrize(
    ("environ", "exporters"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
    ],
)
def test_the_standard_environment_decides(environ: dict[str, str], exporters: list[str]) -> None:
    assert asked(environ) == exporters


def test_an_exporter_that_is_not_there_is_said_and_does_no_harm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = trace.get_tracer_provider()
    with tracing({"OTEL_TRACES_EXPORTER": "pigeon"}):
        assert trace.get_tracer_provider() is before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "pigeon is not installed" in captured.err
    assert "textgrad-mcp[otel]" in captured.err


def test_nothing_is_imported_for_telemetry_that_is_not_asked_for() -> None:
    code = (
        "import sys, os\n"
        "from textgrad_mcp.server import telemetry\n"
        "from textgrad_mcp.server.protocol import app\n"
        "with telemetry.tracing({}): pass\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exp',"
        " 'requests', 'google'))])"
    )
    assert printed_by(code) == "[]"


class Collector:
    """What an OTLP collector on loopback was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []

    @property
    def raw(self) -> bytes:
        """Everything that was sent, as it was sent."""
        return b"".join(self.bodies)

    def spans(self, name: str) -> list[Any]:
        """The spans of that name, in their order."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        resources = [resource for request in requests for resource in request.resource_spans]
        scopes = [scope for resource in resources for scope in resource.scope_spans]
        assert {facts_of(r.resource.attributes)["service.name"] for r in resources} == {
            "textgrad-mcp"
        }
        named = [span for scope in scopes for span in scope.spans if span.name == name]
        return sorted(named, key=lambda span: span.start_time_unix_nano)


def facts_of(attributes: Any) -> Facts:
    """OTLP's attributes as a dictionary of plain values."""
    return {one.key: _plain(one.value) for one in attributes}


def _plain(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_plain(item) for item in value.array_value.values]
    return getattr(value, which or "string_value")


@contextmanager
def collector() -> Iterator[Collector]:
    """A real OTLP/HTTP endpoint."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            zipped = self.headers.get("Content-Encoding") == "gzip"
            assert self.path == "/v1/traces"
            found.bodies.append(gzip.decompress(body) if zipped else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def served(model: StandIn, database: Path, **environ: str) -> str:
    """The session of one model call through a server process, in the trace of its client."""

    async def main() -> str:
        told = {
            "TEXTGRAD_MCP_BASE_URL": model.url,
            "TEXTGRAD_MCP_MODEL": "m",
            "TEXTGRAD_MCP_API_KEY": KEY,
            "TEXTGRAD_MCP_DATABASE": str(database),
            "TEXTGRAD_MCP_CONFIG": os.devnull,
        }
        program = ["-m", "textgrad_mcp.server.cli"]
        process = StdioServerParameters(
            command=sys.executable, args=program, env={**os.environ, **told, **environ}
        )
        async with Client(process) as client:
            call = Tools(client)
            made = await call("create_variable", role="a role", value=SECRET)
            session = str(made["session_id"])
            await call("forward", session_id=session, operation="llm", inputs={"x": "v1"})
            await call.refused("forward", session_id=session, operation="llm", inputs={"x": "v9"})
            return session

    parent = SpanContext(TRACE, PARENT, is_remote=False, trace_flags=TraceFlags(1))
    token = attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    try:
        return asyncio.run(main())
    finally:
        detach(token)


def test_a_collector_gets_the_spans_of_a_server_in_the_clients_trace(tmp_path: Path) -> None:
    with StandIn(key=KEY) as model, collector() as found:
        session = served(model, tmp_path / "t.db", OTEL_EXPORTER_OTLP_ENDPOINT=found.url)
        [made], [chat] = found.spans("tools/call create_variable"), found.spans("chat m")
        done, failed = found.spans("tools/call forward")
    tool = facts_of(made.attributes)
    assert made.trace_id == chat.trace_id == TRACE.to_bytes(16)
    assert made.parent_span_id == PARENT.to_bytes(8)
    assert tool["gen_ai.operation.name"] == "execute_tool"
    assert tool["gen_ai.tool.name"] == "create_variable"
    assert tool["mcp.method.name"] == "tools/call"
    assert (tool["gen_ai.conversation.id"], tool["textgrad.status"]) == (session, "done")
    assert facts_of(failed.attributes)["error.type"] == "tool_error"
    assert chat.parent_span_id == done.span_id
    completion = facts_of(chat.attributes)
    assert completion["gen_ai.request.model"] == "m"
    assert completion["gen_ai.usage.input_tokens"] > 0
    assert [word for word in (SECRET, KEY) if word.encode() in found.raw] == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals end a process there")
def test_what_is_left_is_sent_when_a_signal_ends_the_server(tmp_path: Path) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}}
    hello["clientInfo"] = {"name": "test", "version": "1"}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    with collector() as found:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, "TEXTGRAD_MCP_CONFIG": os.devnull}
        command = [sys.executable, "-m", "textgrad_mcp.server.cli"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, text=True, env=os.environ | told, **pipes) as server:
            assert server.stdin
            assert server.stdout
            print(json.dumps(message), file=server.stdin, flush=True)
            server.stdout.readline()
            server.terminate()
            assert server.wait(30) == 128 + signal.SIGTERM
        assert len(found.spans("initialize")) == 1


def test_spans_on_the_console_do_not_disturb_the_protocol(tmp_path: Path) -> None:
    with StandIn(key=KEY) as model:
        assert served(model, tmp_path / "t.db", OTEL_TRACES_EXPORTER="console")
