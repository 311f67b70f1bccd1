"""A stand-in endpoint: the chat-completions protocol on loopback, with scripted replies and faults.

    with StandIn(rules=[("capital of France", "Paris")], faults={3: fault("429")}) as server:
        ...                                 # server.url, server.log, server.most_in_flight

or as a program, which prints its address: `python tests/standin.py --port 0 --fault 3=429`.
Nothing is random unless a seed is given, and nothing leaves the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import math
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

Body = dict[str, Any]
Reply = Callable[[Body], str]
Latency = float | Callable[[int], float]


@dataclass(frozen=True)
class Fault:
    """What is odd about one answer. `raw` replaces the whole body; times are in seconds.

    `message` and `choice` are keys that are added to those, or replace them.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None
    kind: str = "application/json"
    delay: float = 0.0
    hang: bool = False
    reset: Literal["", "before", "middle"] = ""
    text: str | None = None
    content: Any = None
    finish: str = "stop"
    refusal: str | None = None
    usage: Any = None
    message: Mapping[str, Any] = field(default_factory=dict)
    choice: Mapping[str, Any] = field(default_factory=dict)


def _error(status: int, message: str, code: str | None = None, **headers: str) -> Fault:
    error = {"message": message, "type": code or "error", "param": None, "code": code}
    return Fault(status=status, headers=headers, raw=json.dumps({"error": error}))


NAMED: dict[str, Fault] = {
    "quota": _error(429, "You exceeded your current quota.", "insufficient_quota"),
    "html": Fault(raw="<!DOCTYPE html><html><body>Welcome</body></html>", kind="text/html"),
    "bad-gateway": Fault(status=502, raw="<html>502 Bad Gateway</html>", kind="text/html"),
    "null": Fault(raw="null"),
    "object": Fault(raw="{}"),
    "no-choices": Fault(raw='{"id": "x", "object": "chat.completion", "choices": []}'),
    "null-choice": Fault(raw='{"choices": [null]}'),
    "truncated": Fault(raw='{"id": "x", "choices": [{"message": {"content": "half of'),
    "deep": Fault(raw="[" * 200_000),
    "number": Fault(content=42),
    "parts": Fault(content=[{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]),
    "wrapped-429": Fault(raw='{"error": {"message": "upstream is busy", "code": 429}}'),
    "empty": Fault(text=""),
    "length": Fault(text="cut off in the mid", finish="length"),
    "content_filter": Fault(text="", finish="content_filter"),
    "refusal": Fault(refusal="I cannot help with that."),
    "no-usage": Fault(usage=False),
    "hang": Fault(hang=True),
    "reset": Fault(reset="before"),
    "reset-middle": Fault(reset="middle"),
}


def fault(name: str, retry_after: float | str | None = None) -> Fault:
    """The fault called `name`: a key of NAMED or a status code such as "429"."""
    made = NAMED[name] if name in NAMED else _error(int(name), f"scripted status {name}")
    if retry_after is None:
        return made
    return replace(made, headers={**made.headers, "retry-after": str(retry_after)})


@dataclass
class Seen:
    """One request as it arrived: `at` is in seconds since the start, `index` counts from 1."""

    index: int
    at: float
    in_flight: int
    body: Body
    headers: dict[str, str]


def log_normal(median: float, sigma: float = 0.5, seed: int = 0) -> Callable[[int], float]:
    """Latencies in seconds, the same for the same seed and request number."""

    def latency(index: int) -> float:
        return random.Random(f"{seed}:{index}").lognormvariate(math.log(median), sigma)

    return latency


def text_of(message: Mapping[str, Any]) -> str:
    """A message's text, whether it is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def fill(schema: Mapping[str, Any], about: str, root: Mapping[str, Any] | None = None) -> Any:
    """A plausible value of `schema`, decided by `about` alone."""
    root, pick = root or schema, _digest(about)
    if "$ref" in schema:
        return fill(root["$defs"][schema["$ref"].rsplit("/", 1)[-1]], about, root)
    if schema.get("anyOf"):
        return fill(schema["anyOf"][0], about, root)
    if schema.get("enum"):
        return schema["enum"][pick % len(schema["enum"])]
    low, high = schema.get("minimum", 0), schema.get("maximum", 1)
    match schema.get("type"):
        case "object":
            return {k: fill(v, f"{about} {k}", root) for k, v in schema["properties"].items()}
        case "array":
            count = max(1, schema.get("minItems", 1))
            return [fill(schema["items"], f"{about} {n}", root) for n in range(count)]
        case "integer":
            return low + pick % (high - low + 1)
        case "number":
            return round(low + (high - low) * (pick % 101) / 100, 2)
        case "boolean":
            return True
    return f"Be specific ({pick % 10_000})."


def default_reply(body: Body) -> str:
    """JSON of the schema or with the keys that the prompt shows, else a short stable sentence."""
    prompt = "\n".join(text_of(message) for message in body.get("messages", []))
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return json.dumps(fill(form["json_schema"]["schema"], prompt))
    if form.get("type") == "json_object" or "JSON" in prompt:
        keys = dict.fromkeys(re.findall(r'"(\w+)"\s*:', prompt))
        if keys:
            return json.dumps({key: fill({"type": "string"}, prompt + key) for key in keys})
    return f"Answer {_digest(prompt) % 10_000}."


class StandIn:
    """The server. As a context manager it runs in a thread of its own; `serve` runs it in yours.

    `reply` or the first of `rules` (pattern on any message's text, reply) that fits decides the
    text; `faults` maps request numbers (from 1) to faults, or decides by number and body.
    `formats` are the response formats it knows; `key` is the only one accepted, if given.
    `paused` holds every answer back until `resume`.
    """

    def __init__(
        self,
        *,
        reply: Reply | None = None,
        rules: Sequence[tuple[str, str]] = (),
        faults: Mapping[int, Fault] | Callable[[int, Body], Fault | None] | None = None,
        latency: Latency = 0.0,
        formats: Sequence[str] = ("json_schema", "json_object", "text"),
        key: str | None = None,
        paused: bool = False,
    ) -> None:
        self._reply, self._rules, self._faults = reply, rules, faults or {}
        self._latency, self._formats, self._key = latency, formats, key
        self.log: list[Seen] = []
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._changed = threading.Condition()
        self._started = time.monotonic()
        self._paused = paused
        self._open: asyncio.Event | None = None
        self._main: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None

    async def serve(self, port: int = 0, started: Callable[[str], None] | None = None) -> None:
        """Serve on loopback until cancelled. `started` is given the address."""
        self._open = asyncio.Event()
        if not self._paused:
            self._open.set()
        tasks: set[asyncio.Task[None]] = set()

        def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(handle, "127.0.0.1", port, limit=2**25, backlog=1024)
        with self._changed:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            self._changed.notify_all()
        if started:
            started(self.url)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        self._main = asyncio.ensure_future(self.serve())
        await asyncio.wait({self._main})

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        with self._changed:
            assert self._changed.wait_for(lambda: self.url, timeout=10), "it did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._main
        assert self._thread
        self._main.get_loop().call_soon_threadsafe(self._main.cancel)
        self._thread.join(timeout=10)

    def resume(self) -> None:
        """Let answers out again."""
        assert self._main
        assert self._open
        self._main.get_loop().call_soon_threadsafe(self._open.set)

    def wait_for(self, condition: Callable[[Self], bool], timeout: float = 10.0) -> None:
        """Block until `condition` holds of this server. Raises AssertionError after `timeout` s."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout), "it never came to that"

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung_up = (ConnectionError, asyncio.IncompleteReadError)
        with contextlib.closing(writer), contextlib.suppress(*hung_up):
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin-1").strip().split("\r\n")
                method, path, _ = first.split(" ", 2)
                headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
                data = await reader.readexactly(int(headers.get("content-length", 0)))
                if method == "POST" and path.partition("?")[0].endswith("/chat/completions"):
                    await self._completion(reader, writer, json.loads(data), headers)
                else:
                    await _send(writer, self._page(path))

    def _page(self, path: str) -> Fault:
        if path == "/log":
            rows = [{**vars(seen), "headers": None} for seen in self.log]
            return Fault(raw=json.dumps({"requests": rows, "most_in_flight": self.most_in_flight}))
        if path.endswith("/models"):
            return Fault(raw='{"object": "list", "data": [{"id": "stand-in", "object": "model"}]}')
        return _error(404, f"no such path: {path}")

    async def _completion(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        body: Body,
        headers: dict[str, str],
    ) -> None:
        index = self._arrived(body, headers)
        try:
            chosen = self._choose(index, body, headers)
            if await self._wait(reader, index, chosen):
                await _send(writer, replace(chosen, raw=self._body(index, body, chosen)))
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    def _arrived(self, body: Body, headers: dict[str, str]) -> int:
        with self._changed:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            index, at = len(self.log) + 1, time.monotonic() - self._started
            self.log.append(Seen(index, at, self.in_flight, body, headers))
            self._changed.notify_all()
        return index

    def _choose(self, index: int, body: Body, headers: dict[str, str]) -> Fault:
        scripted = self._faults(index, body) if callable(self._faults) else self._faults.get(index)
        if scripted is not None:
            return scripted
        sent = headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and sent != self._key:
            return _error(401, f"Incorrect API key provided: {sent}.", "invalid_api_key")
        form = (body.get("response_format") or {"type": "text"})["type"]
        if form not in self._formats:
            return _error(400, f"This response_format type is unavailable: {form}")
        return Fault()

    async def _wait(self, reader: asyncio.StreamReader, index: int, chosen: Fault) -> bool:
        """Wait as long as is scripted; False if the client leaves meanwhile."""
        assert self._open is not None
        delay = self._latency(index) if callable(self._latency) else self._latency
        delay += chosen.delay
        if not chosen.hang and not delay and self._open.is_set():
            return True
        gone = asyncio.ensure_future(reader.read(1))
        opened = asyncio.ensure_future(self._open.wait())
        try:
            await asyncio.wait({gone}, timeout=None if chosen.hang else delay)
            await asyncio.wait({gone, opened}, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            gone.cancel()
            opened.cancel()
            await asyncio.gather(gone, opened, return_exceptions=True)

    def _body(self, index: int, body: Body, chosen: Fault) -> str:
        if chosen.raw is not None:
            return chosen.raw
        text = self._text(body) if chosen.text is None else chosen.text
        content = None if chosen.refusal else text if chosen.content is None else chosen.content
        message = {"role": "assistant", "content": content, "refusal": chosen.refusal}
        choice = {"index": 0, "message": {**message, **chosen.message}}
        choice |= {"finish_reason": chosen.finish, **chosen.choice}
        made = {"id": f"chatcmpl-{index}", "object": "chat.completion", "created": 0}
        made |= {"model": body.get("model", "stand-in"), "choices": [choice]}
        if chosen.usage is not False:
            made["usage"] = chosen.usage or usage_of(body, text)
        return json.dumps(made)

    def _text(self, body: Body) -> str:
        if self._reply is not None:
            return self._reply(body)
        texts = [text_of(message) for message in body.get("messages", [])]
        for pattern, reply in self._rules:
            if any(re.search(pattern, text) for text in texts):
                return reply
        return default_reply(body)


def usage_of(body: Body, text: str) -> dict[str, int]:
    """Tokens by the rule of one for every four characters, rounded up."""
    sent = sum(len(text_of(message)) for message in body.get("messages", []))
    prompt, completion = -(-sent // 4), -(-len(text) // 4)
    counted = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {**counted, "total_tokens": prompt + completion}


async def _send(writer: asyncio.StreamWriter, answer: Fault) -> None:
    data = (answer.raw or "").encode()
    lines = [f"HTTP/1.1 {answer.status} Scripted", f"content-type: {answer.kind}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    head = "\r\n".join([*lines, f"content-length: {len(data)}", "", ""]).encode()
    if answer.reset:
        writer.write(head + data[: len(data) // 2] if answer.reset == "middle" else b"")
        await writer.drain()
        linger = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        raise ConnectionResetError
    writer.write(head + data)
    await writer.drain()


def _schedule(entries: Sequence[str]) -> Callable[[int, Body], Fault | None]:
    """`3=429` is the third request, `every:10=reset` each tenth; `429@2` adds retry-after."""
    rules: list[tuple[str, Fault]] = []
    for entry in entries:
        when, _, what = entry.partition("=")
        name, _, after = what.partition("@")
        rules.append((when, fault(name, after or None)))

    def fits(when: str, index: int) -> bool:
        every = when.removeprefix("every:")
        return index % int(every) == 0 if every != when else index == int(when)

    return lambda index, _: next((f for when, f in rules if fits(when, index)), None)


def main() -> None:
    """The command line. It ends when it is interrupted."""
    parser = argparse.ArgumentParser(description="A stand-in chat-completions endpoint.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds, or the median")
    parser.add_argument("--sigma", type=float, help="log-normal latency with this spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rule", nargs=2, action="append", default=[], metavar=("REGEX", "REPLY"))
    parser.add_argument("--fault", action="append", default=[], metavar="N=NAME")
    args = parser.parse_args()
    latency = log_normal(args.latency, args.sigma, args.seed) if args.sigma else args.latency
    server = StandIn(rules=args.rule, faults=_schedule(args.fault), latency=latency)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server.serve(args.port, started=lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
