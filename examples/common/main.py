"""What the five examples share: who answers, the run, the baseline, the record, the report."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from examples.common.answering import Mailbox, Recorded, assistant, endpoint_named, local_model
from examples.common.record import Evaluated, NoRecord, Record, load
from examples.common.report import Report, words
from examples.common.tools import (
    COMMAND,
    LOOP,
    Answer,
    Facts,
    Failed,
    Tools,
    environment,
    exported,
    serving,
)

FOLDER = Path(__file__).parent.parent
OPTIONS = ("steps", "candidates", "seed", "limit", "small")
"""What decides over the prompts of a run, so that a record keeps it."""
Arguments = argparse.Namespace
PARAMS: dict[str, Facts] = {
    "forward": {"temperature": 0.0, "max_tokens": 512},
    "backward": {"temperature": 0.0, "max_tokens": 512},
}


def loop(args: Arguments) -> Facts:
    """All that `optimize` is told, by the options of a run."""
    sizes = {"steps": args.steps, "candidates": args.candidates, "patience": args.steps}
    return {**LOOP, **sizes, "seed": args.seed}


def _no_baseline(_: Record, __: Arguments, say: Callable[[str], None]) -> list[Evaluated]:
    return []


@dataclass(frozen=True)
class Example:
    """One of the five systems.

    `run` builds and optimises through the tools alone. `baseline` spends the same on something
    simpler, where that needs no model (else `run` does it in sessions named `baseline ...`).
    `report` and `picture` read a record. `short` is the most tokens of an answer of the local
    model with --small. `local` are the roles that the small local model can
    answer, `by_assistant` those that an assistant does when there is a mailbox. What to say to
    one's own assistant stands in the folder's assistant.md, where the local model cannot do it.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    steps: int
    run: Callable[[Tools, Arguments], Awaitable[None]]
    report: Callable[[Record], Report]
    picture: Callable[[Record, Path], list[Path]]
    baseline: Callable[[Record, Arguments, Callable[[str], None]], list[Evaluated]] = _no_baseline
    local: tuple[str, ...] = ()
    by_assistant: tuple[str, ...] = ("forward", "backward")
    limit: int = 0
    candidates: int = 3
    short: int = 512
    params: dict[str, Facts] = field(default_factory=lambda: PARAMS)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return FOLDER / self.name

    def recorded(self, task: str) -> Path:
        """The recorded run of a real assistant or model that comes with the example."""
        return self.folder / "recorded" / f"{task}.json"


def main(example: Example) -> int:
    """The command of an example. Gives the exit code."""
    args = _parser(example).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    print(example.title, file=sys.stderr)
    try:
        record = _replayed(example, args) if args.replay else _run(example, args)
        if record is not None:
            _finish(example, record, args.out)
    except (Failed, NoRecord) as error:
        print(error, file=sys.stderr)
        return 2
    except BaseExceptionGroup as group:
        print(_first(group), file=sys.stderr)
        return 2
    return 0


def _parser(example: Example) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"make example-{example.name} ARGS=...")
    parser.add_argument("--task", choices=example.tasks, default=example.tasks[0])
    parser.add_argument("--steps", type=int, default=example.steps, help="of the optimiser")
    parser.add_argument(
        "--candidates", type=int, default=example.candidates, help="rewrites a step"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=example.limit, help="problems to work on")
    parser.add_argument(
        "--small", action="store_true", help="fewer examples, shorter answers: for a slow machine"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a record, or an export")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="run a record anew, with the replies in it"
    )
    parser.add_argument("--mailbox", type=Path, metavar="DIR", help="an assistant answers here")
    parser.add_argument(
        "--no-local", action="store_true", help="the assistant answers for the local model, too"
    )
    parser.add_argument("--by", default="", help="who answers, for the record")
    parser.add_argument("--out", type=Path, default=example.folder / "out")
    return parser


def _run(example: Example, args: Arguments) -> Record | None:
    """The record of a run, or of the recorded one where nobody is there to answer."""
    answered = args.mailbox or args.again or endpoint_named(os.environ)
    if not answered and not example.local:
        print(_told(example), file=sys.stderr)
        path = example.recorded(args.task)
        if not path.exists():
            print("There is no recorded run of this task to show.", file=sys.stderr)
            return None
        print("What follows is a replay of a recorded run.", file=sys.stderr)
        return load(path, example.name, args.task)
    with _answered(example, args) as (told, answer, by), tempfile.TemporaryDirectory() as folder:
        env = environment(told | _places(example, Path(folder)))
        record = asyncio.run(_driven(example, args, env, answer, by))
    record.save(args.out / f"{args.task}.json")  # what follows may be stopped
    done = example.baseline(record, args, lambda line: print(line, file=sys.stderr, flush=True))
    whole = replace(record, baseline=done)
    whole.save(args.out / f"{args.task}.json")
    print(f"The record is {args.out / f'{args.task}.json'}.", file=sys.stderr)
    return whole


async def _driven(
    example: Example, args: Arguments, env: dict[str, str], answer: Answer | None, by: str
) -> Record:
    sessions: dict[str, str] = {}
    try:
        async with serving(env, answer, sessions) as tools:
            await example.run(tools, args)
    except (Failed, BaseExceptionGroup):
        if sessions:  # what was paid for is not lost
            path = args.out / f"{args.task}.unfinished.json"
            _record(example, args, env, by, sessions).save(path)
            print(f"What there is so far is {path}.", file=sys.stderr)
        raise
    return _record(example, args, env, by, sessions)


def _record(
    example: Example, args: Arguments, env: dict[str, str], by: str, sessions: dict[str, str]
) -> Record:
    found = {name: exported(session, env) for name, session in sessions.items()}
    options = {name: getattr(args, name) for name in OPTIONS}
    return Record(example.name, args.task, args.by or by, found, options=options)


def _places(example: Example, folder: Path) -> dict[str, str]:
    """A database of the run's own, and the example's configuration."""
    config = example.folder / "config.toml"
    found = {"TEXTGRAD_MCP_DATABASE": str(folder / "example.db")}
    return found | {"TEXTGRAD_MCP_CONFIG": str(config)}


@contextmanager
def _answered(
    example: Example, args: Arguments
) -> Iterator[tuple[dict[str, str], Answer | None, str]]:
    """Settings, who writes what the server hands back, and the name for the record."""
    if args.again:
        record = load(args.again, example.name, args.task)
        vars(args).update(record.options)
        by = f"{record.answered_by}, in a record that is run again"
        yield assistant(("forward", "backward")), Recorded(record), by
        return
    named = endpoint_named(os.environ)
    if named and args.mailbox is None:
        yield {}, None, named
        return
    mailed = example.by_assistant if args.mailbox else ()
    if args.mailbox and args.no_local:
        mailed = example.local or mailed
    roles = tuple(role for role in example.local if role not in mailed)
    answer = Mailbox(args.mailbox) if args.mailbox else None
    told = assistant(mailed)
    by = "an assistant" if args.mailbox else ""
    if not roles:
        yield told, answer, by
        return
    if named:
        yield told, answer, f"{by} and {named}"
        return
    with local_model(roles, _params(example, args)) as settings:
        model = settings[f"TEXTGRAD_MCP_{roles[0].upper()}_MODEL"]
        yield told | settings, answer, f"{by} and {model}" if by else model


def _params(example: Example, args: Arguments) -> dict[str, Facts]:
    """What the local model is told by role."""
    short = {"max_tokens": example.short} if args.small else {}
    return {**example.params, "forward": example.params["forward"] | short}


def _told(example: Example) -> str:
    """What to tell one's own assistant, with this machine's paths."""
    config = f"--config {example.folder / 'config.toml'}"
    text = (example.folder / "assistant.md").read_text("utf-8")
    text = text.replace("EXPORT", f"{COMMAND} sessions export ID run.json {config}")
    return text.replace("COMMAND", f"{COMMAND} {config}")


def _replayed(example: Example, args: Arguments) -> Record:
    return load(args.replay, example.name, args.task)


def _finish(example: Example, record: Record, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    report = example.report(record)
    print(words(report, record, example.picture(record, out)))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What the client's task groups wrapped, in words where it is ours."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if not isinstance(first, Failed):
        raise group
    return first
