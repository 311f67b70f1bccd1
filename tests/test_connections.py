"""Strangers over HTTP who send halves, or slowly, or do not read: others get in all the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from textgrad_mcp.server.addresses import networks
from textgrad_mcp.server.auth import new_token
from textgrad_mcp.server.connections import Connection, Gate

from .helpers import assisted
from .users import served

FEW = {"HEADER_SECONDS": 0.5, "BODY_SECONDS": 0.5, "READ_SECONDS": 0.5}
MANY = 300
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
NEWER = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    "MCP-Protocol-Version": "2026-07-28",
}


def request(
    method: str, params: Mapping[str, object], more: Mapping[str, str] = NEWER, length: int = 0
) -> bytes:
    """A request of the newer protocol as bytes; with `length` its body is said to be longer."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    body = json.dumps(message).encode()
    headers = {**NEWER, "Mcp-Method": method, "Host": "localhost", **more}
    headers["Content-Length"] = str(length or len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body


def bearer(token: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@contextmanager
def connected(url: str, count: int, send: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have sent the same."""
    where = urlsplit(url)
    with ExitStack() as opened:
        found = []
        for _ in range(count):
            one = socket.create_connection((where.hostname, where.port), timeout=10)
            found.append(opened.enter_context(one))
            one.sendall(send)
        yield found


def sees(url: str, token: str) -> bool:
    """Whether somebody with a token is served, on a connection of their own."""
    asked = request("tools/list", {}, bearer(token) | {"Connection": "close"})
    with connected(url, 1, asked) as [one]:
        return one.recv(12) == b"HTTP/1.1 200"


def ends(one: socket.socket) -> bool:
    """Whether the other side closes a connection, whatever it says before."""
    try:
        while one.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return True


@dataclass
class Crowded:
    """A server with as few open files as some systems allow, two tokens, and its log."""

    url: str
    ann: str
    bob: str
    log: Path


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    folder = tmp_path_factory.mktemp("crowded")
    tokens, log = folder / "tokens", folder / "stderr"
    ann, bob = (new_token(tokens, name) for name in ("ann", "bob"))
    with served(assisted(folder / "t.db"), tokens, log, files=256) as (url, _):
        yield Crowded(url, ann, bob, log)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server that waits half a second for anything, and its log."""
    folder = tmp_path_factory.mktemp("hasty")
    with served(assisted(folder / "t.db"), errors=folder / "stderr", limits=FEW) as (url, _):
        yield url, folder / "stderr"


LISTEN = {"notifications": {"resourcesListChanged": True}}
CROWDS: dict[str, Callable[[str], bytes]] = {
    "nothing": lambda _: b"",
    "half a header": lambda _: b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Le",
    "a body that does not come": lambda _: request("tools/list", {}, length=10_000),
    "a body that does not come, with a token": lambda bob: request(
        "tools/list", {}, bearer(bob), length=10_000
    ),
    "a request without a token, and then nothing": lambda _: request("tools/list", {}),
    "a listen stream each, with a token": lambda bob: request(
        "subscriptions/listen", LISTEN, bearer(bob)
    ),
}


@pytest.mark.requirement("strangers")
@pytest.mark.parametrize("what", CROWDS)
def test_a_crowd_at_one_address_keeps_nobody_out(crowded: Crowded, what: str) -> None:
    """Nobody at the same address, even."""
    assert sees(crowded.url, crowded.ann)
    with connected(crowded.url, MANY, CROWDS[what](crowded.bob)):
        assert sees(crowded.url, crowded.ann)
    assert sees(crowded.url, crowded.ann)
    assert crowded.log.stat().st_size < 20_000


@pytest.mark.requirement("strangers")
@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /healthz HT",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he",
    ],
)
def test_a_request_that_does_not_come_whole_is_given_up(
    hasty: tuple[str, Path], begun: bytes
) -> None:
    with connected(hasty[0], 1, begun) as [one]:
        assert ends(one)


@pytest.mark.requirement("strangers")
def test_a_header_that_trickles_is_given_up_all_the_same(hasty: tuple[str, Path]) -> None:
    with connected(hasty[0], 1, b"GET /healthz HTTP/1.1\r\n") as [one]:
        one.settimeout(0.1)
        assert any(_closed_after(one, b"X-Sent: a\r\n") for _ in range(100))


def _closed_after(one: socket.socket, sent: bytes) -> bool:
    try:
        one.sendall(sent)
        return one.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.requirement("strangers")
def test_a_reader_who_stops_is_given_up_and_others_are_answered(hasty: tuple[str, Path]) -> None:
    with httpx2.Client(base_url=hasty[0]) as http:
        long = {"role": "r", "value": "long " * 190_000, "requires_grad": False}
        called = request("tools/call", {"name": "create_variable", "arguments": long})
        named = {"Mcp-Method": "tools/call", "Mcp-Name": "create_variable"}
        body = called.partition(b"\r\n\r\n")[2]
        made = http.post("/mcp", content=body, headers={**NEWER, **named}).json()
        session = made["result"]["structuredContent"]["session_id"]
        uri = f"textgrad://sessions/{session}/variables/v1/versions/1"
        asked = request("resources/read", {"uri": uri}, {"Mcp-Name": uri})
        with connected(hasty[0], 1, asked * 40) as [one]:
            assert http.get("/healthz").text == "ok\n"
            with pytest.raises(ConnectionError):  # a time-out is none
                send_on(one, asked)


def send_on(one: socket.socket, asked: bytes) -> None:
    """Ask again and again, and read nothing."""
    while True:
        one.sendall(asked)


@pytest.mark.requirement("strangers")
def test_rubbish_is_refused_and_cannot_fill_the_log(hasty: tuple[str, Path]) -> None:
    url, log = hasty
    for _ in range(200):
        with connected(url, 1, b"\x00\x9b31m rubbish\r\n\r\n") as [one]:
            assert one.recv(12) == b"HTTP/1.1 400"
    said = log.read_text()
    assert 1 <= said.count("Invalid HTTP request") <= 10
    assert "\x9b" not in said


class Counted(Connection):
    """A connection that only knows whether it was given up."""

    def __init__(self) -> None:
        self.why = ""

    def give_up(self, why: str) -> None:
        """Remember it, as a closed connection leaves its gate."""
        self.why = why
        self.gate.leave(self)


def entered(gate: Gate, host: str) -> tuple[Counted, bool]:
    """A new connection from `host`, and whether it was let in."""
    one = Counted()
    one.gate = gate
    return one, gate.enter(one, host)


@pytest.mark.requirement("strangers")
def test_a_newcomer_takes_the_place_of_whoever_has_waited_longest() -> None:
    gate = Gate(100, 3)
    first, second, third = (entered(gate, "10.0.0.1")[0] for _ in range(3))
    gate.works(first)
    assert entered(gate, "10.0.0.1")[1]
    assert [bool(one.why) for one in (first, second, third)] == [False, True, False]
    gate.waits(first)
    assert entered(gate, "10.0.0.1")[1]
    assert [bool(one.why) for one in (first, third)] == [False, True]


@pytest.mark.requirement("strangers")
def test_where_everybody_is_being_answered_a_newcomer_is_turned_away_until_one_leaves() -> None:
    gate = Gate(100, 2)
    busy = [entered(gate, "10.0.0.1")[0] for _ in range(2)]
    for one in busy:
        gate.works(one)
    assert not entered(gate, "10.0.0.1")[1]
    assert entered(gate, "10.0.0.2")[1]
    gate.leave(busy[0])
    gate.leave(busy[0])
    assert entered(gate, "10.0.0.1")[1]
    assert not busy[1].why


@pytest.mark.requirement("strangers")
def test_one_address_holds_at_most_half_and_all_together_no_more_than_there_are() -> None:
    gate = Gate(10, 1000)
    for n in range(1, 5):
        for _ in range(10):
            one, known = entered(gate, f"10.0.0.{n}")
            if known:
                gate.works(one)
    assert not entered(gate, "10.0.0.9")[1]
    gate = Gate(10, 1000)
    held = [entered(gate, "10.0.0.1") for _ in range(6)]
    assert sum(not one.why for one, _ in held) == 5


@pytest.mark.requirement("strangers")
def test_an_ipv6_household_is_one_caller_and_a_proxy_is_many() -> None:
    gate = Gate(100, 2, networks(["10.9.0.0/16"]))
    homes = [entered(gate, f"2001:db8:0:7::{n}")[0] for n in range(3)]
    assert homes[0].why
    assert not entered(gate, "2001:db8:0:8::1")[0].why
    assert not any(entered(gate, "10.9.3.3")[0].why for _ in range(40))
    mapped = [entered(gate, host)[0] for host in ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1")]
    assert mapped[0].why
