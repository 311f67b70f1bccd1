"""A critic that is no endpoint: requests wait in a folder until somebody answers them one by one.

    python benchmarks/critic.py serve FOLDER --port 9100    # http://127.0.0.1:9100/RUN/v1
    python benchmarks/critic.py next FOLDER/RUN             # waits; prints what nobody has answered
    python benchmarks/critic.py answer FOLDER/RUN 7 < reply.txt

Any OpenAI client can ask; a strong model, or a person, answers from a shell without knowing who
asks. Each run has a folder of its own, to be answered by a critic of its own with an empty memory:
one that has seen another run's requests knows things that this run has not paid for. Replies stay:
a run that is broken off and begun again gets the replies it had. A request that a run makes twice
is asked twice, as it would be of a model.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web

POLL = 0.2
MOST = 4 * 3600.0
"""Seconds that a request waits for its reply."""
ENDED = "ended"
"""The file that says that a run asks no more."""


async def serve(folder: Path, port: int) -> web.AppRunner:
    """The endpoint, running on loopback; each run is addressed as /RUN/v1."""

    times: Counter[tuple[Path, str]] = Counter()

    async def complete(request: web.Request) -> web.Response:
        run = folder / request.match_info["run"]
        run.mkdir(parents=True, exist_ok=True)
        body = await request.json()
        asked = {key: body.get(key) for key in ("messages", "response_format", "seed")}
        words = json.dumps(asked, ensure_ascii=False, sort_keys=True)
        times[run, words] += 1
        digest = hashlib.sha256(f"{times[run, words]} {words}".encode()).hexdigest()
        text = await _reply(run, _number(run, asked | {"digest": digest}))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        size = sum(len(str(m["content"])) for m in body["messages"]) // 4
        usage = {"prompt_tokens": size, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        return web.json_response(
            {"id": "x", "object": "chat.completion", "created": int(time.time())}
            | {"model": "critic", "choices": [choice], "usage": usage}
        )

    app = web.Application(client_max_size=1 << 26)  # bytes
    app.router.add_post("/{run}/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


def _number(run: Path, asked: dict[str, Any]) -> int:
    """The number of a request in its run: the old one where it was asked before."""
    known = {json.loads(p.read_text())["digest"]: int(p.stem) for p in run.glob("*.json")}
    if asked["digest"] in known:
        return known[asked["digest"]]
    number = len(known) + 1
    draft = run / f"{number}.draft"
    draft.write_text(json.dumps(asked, ensure_ascii=False))
    draft.rename(run / f"{number}.json")
    return number


async def _reply(run: Path, number: int) -> str:
    path = run / f"{number}.reply"
    for _ in range(int(MOST / POLL)):
        if path.exists():
            return path.read_text(encoding="utf-8")
        await asyncio.sleep(POLL)
    raise web.HTTPGatewayTimeout(text="Nobody answered.")


def unanswered(run: Path) -> list[Path]:
    """The requests of a run that wait for a reply, in their order."""
    found = [p for p in run.glob("*.json") if not p.with_suffix(".reply").exists()]
    return sorted(found, key=lambda p: int(p.stem))


def shown(path: Path) -> str:
    """A request as whoever answers reads it."""
    asked = json.loads(path.read_text(encoding="utf-8"))
    parts = [f"######## request {path.stem}"]
    for message in asked["messages"]:
        content = message["content"]
        if not isinstance(content, str):
            content = "\n".join(str(part.get("text", part)) for part in content)
        parts.append(f"#### {message['role']}\n{content}")
    if asked["response_format"]:
        schema = (asked["response_format"].get("json_schema") or {}).get("schema")
        parts.append(f"#### form of the reply\none JSON object {json.dumps(schema or '')}")
    return "\n".join(parts) + "\n"


def wait_for_requests(run: Path, seconds: float) -> int:
    """Print what waits for a reply as soon as there is something; 3 when the run has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        waiting = unanswered(run) if run.exists() else []
        if waiting:
            time.sleep(2 * POLL)  # what is asked together is read together
            print("\n".join(map(shown, unanswered(run))))
            return 0
        if (run / ENDED).exists():
            print("The run has ended: nothing more will be asked.")
            return 3
        time.sleep(POLL)
    print("Nothing was asked yet; ask again.")
    return 4


def answer(run: Path, number: int, text: str) -> int:
    """Hand in a reply."""
    if not (run / f"{number}.json").exists():
        print(f"There is no request {number}.", file=sys.stderr)
        return 2
    draft = run / f"{number}.part"
    draft.write_text(text.strip(), encoding="utf-8")
    draft.rename(run / f"{number}.reply")
    return 0


async def _forever(folder: Path, port: int) -> None:
    await serve(folder, port)
    print(f"http://127.0.0.1:{port}/RUN/v1 (Ctrl-C ends it)", flush=True)
    await asyncio.Event().wait()


def main() -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("serve")
    one.add_argument("folder", type=Path)
    one.add_argument("--port", type=int, default=9100)
    one = verbs.add_parser("next")
    one.add_argument("run", type=Path)
    one.add_argument("--wait", type=float, default=500.0, help="seconds")
    one = verbs.add_parser("answer")
    one.add_argument("run", type=Path)
    one.add_argument("number", type=int)
    asked = parser.parse_args()
    if asked.verb == "next":
        return wait_for_requests(asked.run, asked.wait)
    if asked.verb == "answer":
        return answer(asked.run, asked.number, sys.stdin.read())
    asyncio.run(_forever(asked.folder, asked.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
