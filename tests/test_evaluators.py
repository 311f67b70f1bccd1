"""Evaluators are programs of the operator's, run apart from the server and never left running."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from textgrad_mcp.engine import evaluators
from textgrad_mcp.engine.evaluators import Evaluators
from textgrad_mcp.schemas.errors import AnswererError, BadInput, EndpointDown, EndpointRefused
from textgrad_mcp.schemas.graph import Value
from textgrad_mcp.schemas.settings import EvaluatorSettings

PRELUDE = "import json, os, signal, subprocess, sys, time\n"


def program(source: str, *arguments: str, **settings: object) -> Evaluators:
    """One evaluator, `it`, that runs Python source as a command."""
    command = [sys.executable, "-c", PRELUDE + source, *arguments]
    return Evaluators({"it": EvaluatorSettings.model_validate({"command": command, **settings})})


def function(module: str, entry_point: str, place: Path, patch: pytest.MonkeyPatch) -> Evaluators:
    """One evaluator, `it`, that calls a Python function of a module in `place`."""
    place.joinpath("my_evaluator.py").write_text(module)
    patch.setenv("PYTHONPATH", str(place))
    return Evaluators({"it": EvaluatorSettings(entry_point=entry_point, env=["PYTHONPATH"])})


def score(found: Evaluators, **inputs: str) -> Value:
    return asyncio.run(found.score("it", inputs))


def refusal(found: Evaluators, **inputs: str) -> str:
    with pytest.raises(EndpointRefused) as caught:
        score(found, **inputs)
    return caught.value.message


def fifo_reader(path: Path) -> TextIO:
    """The reading end of a named pipe that reports its end when the last writer is gone."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor)


def children() -> set[str]:
    """The process ids of this process's children, dead but unreaped ones too (Linux; else none)."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            if f"\nPPid:\t{os.getpid()}\n" in status.read_text():
                found.add(status.parent.name)
    return found


# what a program gets and gives


def test_a_program_reads_the_inputs_and_prints_score_and_feedback() -> None:
    found = program(
        "i = json.load(sys.stdin)['inputs']\n"
        "print(json.dumps({'score': len(i['a']) / 10, 'feedback': i['b'] + '!'}))"
    )
    assert score(found, a="12345", b="größe {x}\n") == Value(text="größe {x}\n!", score=0.5)


def test_a_program_need_not_read_its_inputs_however_large() -> None:
    found = program("print('{\"score\": 1}')")
    assert score(found, a="x" * 3_000_000) == Value(text="it gave the score 1.00.", score=1.0)


def test_a_program_gets_large_inputs_whole() -> None:
    found = program(
        "n = len(sys.stdin.read()); print(json.dumps({'score': 0, 'feedback': str(n)}))"
    )
    assert int(score(found, a="x" * 3_000_000).text) > 3_000_000


@pytest.mark.requirement("registered-programs")
def test_a_program_sees_only_what_the_operator_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    monkeypatch.setenv("WANTED", "yes")
    source = "print(json.dumps({'score': 1, 'feedback': json.dumps(dict(os.environ))}))"
    seen = score(program(source, env=["WANTED", "NOT_SET"])).text
    assert "hunter2" not in seen
    assert "PATH" not in seen
    assert '"WANTED": "yes"' in seen


def test_a_program_runs_in_an_empty_directory_that_is_gone_afterwards() -> None:
    source = (
        "open('left', 'w').close(); f = os.getcwd() + ' ' + os.environ['HOME']\n"
        "print(json.dumps({'score': 1, 'feedback': f}))"
    )
    place, home = score(program(source)).text.split()
    assert place == home
    assert not Path(place).exists()


@pytest.mark.requirement("registered-programs")
def test_arguments_reach_the_program_without_a_shell() -> None:
    found = program("print(json.dumps({'score': 1, 'feedback': sys.argv[1]}))", "$HOME; `ls` *")
    assert score(found).text == "$HOME; `ls` *"


def test_a_program_is_found_like_the_server_finds_programs() -> None:
    settings = EvaluatorSettings(command=["printf", '{"score": 0.25, "feedback": "ok"}'])
    assert score(Evaluators({"it": settings})) == Value(text="ok", score=0.25)


def test_feedback_that_no_database_takes_is_mended_and_bounded() -> None:
    source = (
        "f = chr(0) + chr(0xd800) + 'x' * 99999; print(json.dumps({'score': 1, 'feedback': f}))"
    )
    found = program(source)
    text = score(found).text
    assert text.startswith("\ufffd?xxx")
    assert len(text) == evaluators.MAX_FEEDBACK


# Python entry points


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 0.5", Value(text="it gave the score 0.50.", score=0.5)),
        ("return inputs['a'] == 'x'", Value(text="it gave the score 1.00.", score=1.0)),
        ("return 0.5, 'half'", Value(text="half", score=0.5)),
        ("print('noise'); return {'score': 1, 'feedback': 'ok'}", Value(text="ok", score=1.0)),
    ],
)
def test_a_python_function_may_return_a_score_alone_or_with_feedback(
    body: str, expected: Value, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"class Judge:\n    @staticmethod\n    def rate(inputs):\n        {body}\n"
    found = function(module, "my_evaluator:Judge.rate", tmp_path, monkeypatch)
    assert score(found, a="x") == expected


def test_a_python_function_runs_outside_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "import os\ndef rate(inputs):\n    return 1, str(os.getpid())\n"
    found = function(module, "my_evaluator:rate", tmp_path, monkeypatch)
    assert int(score(found).text) != os.getpid()
    assert "my_evaluator" not in sys.modules


def test_a_python_function_that_raises_shows_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "def rate(inputs):\n    raise ValueError('no such molecule')\n"
    message = refusal(function(module, "my_evaluator:rate", tmp_path, monkeypatch))
    assert "The evaluator it exited with code 1. Its stderr ends:" in message
    assert message.strip().endswith("ValueError: no such molecule")


def test_a_missing_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(function("", "not_there_at_all:rate", tmp_path, monkeypatch))
    assert "No module named 'not_there_at_all'" in message


# failures


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("sys.exit('dock failed')", "exited with code 1. Its stderr ends:\ndock failed"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by signal 11"),
        ("pass", "not JSON (Expecting value"),
        ("print('score: 1')", "not JSON (Expecting value: line 1 column 1 (char 0)): score: 1"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\xff')", "not JSON"),
        ("print('[' * 100000)", "not JSON"),
        ("print('[1]')", 'must print {"score": 0..1, "feedback": "..."} but printed [1]'),
        ('print(\'{"feedback": "x"}\')', "must print"),
        ("print('{\"score\": 1.5}')", "must print"),
        ("print('{\"score\": NaN}')", "must print"),
        ('print(\'{"score": "1"}\')', "must print"),
        ("print('x' * 2_000_000); time.sleep(60)", "printed more than 1,048,576 bytes and was st"),
    ],
)
def test_a_program_that_fails_is_refused_with_the_reason(source: str, says: str) -> None:
    assert says in refusal(program(source))


@pytest.mark.requirement("program-limits")
def test_the_memory_limit_holds() -> None:
    message = refusal(program("bytearray(10**9)", memory_mb=256))
    assert message.strip().endswith("MemoryError")


def test_a_program_that_cannot_be_started_is_named(tmp_path: Path) -> None:
    missing = Evaluators({"it": EvaluatorSettings(command=["no-such-program-anywhere"])})
    assert "no program 'no-such-program-anywhere' was found" in refusal(missing)
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    settings = EvaluatorSettings(command=[str(broken)])
    assert f"cannot start {broken}" in refusal(Evaluators({"it": settings}))


def test_stderr_in_an_error_is_cut_to_its_end() -> None:
    message = refusal(program("sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(1)"))
    assert message.strip().endswith("xthe end")
    assert len(message) < 1200


def test_a_time_out_may_pass_and_tells_how_far_the_program_came() -> None:
    command = ["sh", "-c", "echo docking >&2; sleep 60"]
    found = Evaluators({"it": EvaluatorSettings(command=command, timeout=2.0)})
    with pytest.raises(EndpointDown, match="did not finish within 2 s and was stopped") as caught:
        score(found)
    assert "docking" in caught.value.message
    assert isinstance(caught.value, AnswererError)


# nothing is left running


FAMILY = """
pipe = os.open(sys.argv[1], os.O_WRONLY)
os.set_inheritable(pipe, True)
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False)
os.write(pipe, b'started\\n')
"""


@pytest.mark.requirement("program-limits")
def test_a_time_out_kills_the_whole_process_group(tmp_path: Path) -> None:
    with fifo_reader(tmp_path / "alive") as alive:
        found = program(FAMILY + "time.sleep(60)", str(tmp_path / "alive"), timeout=3.0)
        with pytest.raises(EndpointDown):
            score(found)
        assert alive.read() == "started\n"  # ends only when the last of them is dead


@pytest.mark.requirement("program-limits")
def test_what_a_finished_program_left_running_is_killed_and_does_not_hold_us_up(
    tmp_path: Path,
) -> None:
    with fifo_reader(tmp_path / "alive") as alive:
        found = program(FAMILY + "print('{\"score\": 1}')", str(tmp_path / "alive"))
        assert score(found).score == 1
        assert alive.read() == "started\n"


def test_cancellation_kills_the_whole_process_group(tmp_path: Path) -> None:
    async def cancelled(alive: TextIO) -> None:
        found = program(FAMILY + "time.sleep(60)", str(tmp_path / "alive"))
        task = asyncio.create_task(found.score("it", {}))
        os.set_blocking(alive.fileno(), False)
        started = asyncio.Event()
        asyncio.get_running_loop().add_reader(alive.fileno(), started.set)
        await started.wait()
        asyncio.get_running_loop().remove_reader(alive.fileno())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        os.set_blocking(alive.fileno(), True)

    with fifo_reader(tmp_path / "alive") as alive:
        asyncio.run(cancelled(alive))
        assert alive.read() == "started\n"


@pytest.mark.requirement("program-limits")
def test_cancellation_at_any_moment_leaves_no_child_and_no_directory(tmp_path: Path) -> None:
    async def storm() -> None:
        found = program("print('{\"score\": 1}')")
        tasks = [asyncio.create_task(found.score("it", {})) for _ in range(30)]
        for turns, task in enumerate(tasks):
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(o, Value | asyncio.CancelledError) for o in outcomes)
        assert (await found.score("it", {})).score == 1  # no slot was lost

    before = children()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        asyncio.run(storm())
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


def test_only_so_many_programs_run_at_once(tmp_path: Path) -> None:
    source = (
        "n = len(os.listdir(sys.argv[1])); mine = os.path.join(sys.argv[1], str(os.getpid()))\n"
        "open(mine, 'w').close(); n = len(os.listdir(sys.argv[1])); os.remove(mine)\n"
        "print(json.dumps({'score': 1, 'feedback': str(n)}))"
    )
    command = [sys.executable, "-c", PRELUDE + source, str(tmp_path)]

    async def many() -> list[Value]:
        found = Evaluators({"it": EvaluatorSettings(command=command)}, at_once=1)
        return await asyncio.gather(*(found.score("it", {}) for _ in range(5)))

    assert [value.text for value in asyncio.run(many())] == ["1"] * 5


# names and settings


@pytest.mark.requirement("registered-programs")
def test_an_unknown_evaluator_gets_the_nearest_name_and_the_list() -> None:
    found = Evaluators({"vina": EvaluatorSettings(command=["x"], description="docking score")})
    with pytest.raises(BadInput, match=r"no evaluator 'vinna'. Did you mean vina\?") as caught:
        found.check("vinna")
    assert caught.value.next == "Evaluators: vina."
    with pytest.raises(BadInput, match="none is registered"):
        Evaluators({}).check("vina")
    assert found.descriptions == {"vina": "docking score"}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"command": []},
        {"command": ["x"], "entry_point": "a:b"},
        {"entry_point": "module"},
        {"entry_point": ":function"},
        {"entry_point": "module:"},
    ],
)
def test_settings_that_say_too_little_or_too_much_are_refused(settings: dict[str, object]) -> None:
    found = Evaluators({"it": EvaluatorSettings.model_validate(settings)})
    with pytest.raises(BadInput, match="it"):
        found.check("it")
