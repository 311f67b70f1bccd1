"""Evaluators are programs of the operator's, run apart from the server and never left running."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from textgrad_mcp.engine.evaluators.evaluators import Evaluators
from textgrad_mcp.engine.evaluators.reply import MAX_FEEDBACK
from textgrad_mcp.schemas.errors import BadInput
from textgrad_mcp.schemas.graph import Value
from textgrad_mcp.schemas.settings import EvaluatorSettings

from ...evaluator_programs import failure, program, refusal, score


def function(module: str, entry_point: str, place: Path, patch: pytest.MonkeyPatch) -> Evaluators:
    """One evaluator, `it`, that calls a Python function of a module in `place`."""
    place.joinpath("my_evaluator.py").write_text(module)
    patch.setenv("PYTHONPATH", str(place))
    return Evaluators({"it": EvaluatorSettings(entry_point=entry_point, env=["PYTHONPATH"])})


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
    assert text.startswith("\ufffd\ufffdxxx")
    kept, _, note = text.rpartition("\n")
    assert (len(kept), note) == (MAX_FEEDBACK, "[cut here: 10,000 characters]")


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
    message = failure(function(module, "my_evaluator:rate", tmp_path, monkeypatch))
    assert "The evaluator it failed on this: it exited with code 1. Its stderr ends:" in message
    assert message.strip().endswith("ValueError: no such molecule")


@pytest.mark.parametrize(
    ("module", "entry_point", "says"),
    [
        ("", "not_there_at_all:rate", "No module named 'not_there_at_all'"),
        ("", "my_evaluator:rate", "has no attribute 'rate'"),
        ("rate = ", "my_evaluator:rate", "SyntaxError"),
        ("1 / 0", "my_evaluator:rate", "ZeroDivisionError"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_no_texts_fault(
    module: str, entry_point: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert says in refusal(function(module, entry_point, tmp_path, monkeypatch))


def test_a_python_function_may_lie_in_the_folder_of_the_settings(tmp_path: Path) -> None:
    tmp_path.joinpath("beside.py").write_text("def rate(inputs):\n    return 0.5\n")
    settings = EvaluatorSettings(entry_point="beside:rate", folder=tmp_path)
    assert score(Evaluators({"it": settings})).score == 0.5


# where the score is found


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("loading...\n{'x': 1}\n" + '{"score": 0.5}', 0.5),
        ('{"level": "info"}\n{"score": 0.5}\n{"level": "info"}\nbye\n\n', 0.5),
        ('{"score": 0.1}\n{"score": 0.5}', 0.5),
        ('{\n  "score": 0.5,\n  "details": {"score": 0.1}\n}\n', 0.5),
        ('\r\n{"score": 0.5}\r\n', 0.5),
        ('{"score": 0.5, "time": 3, "notes": [1, {}]}', 0.5),
        ('{"score": true}', 1.0),
    ],
)
def test_the_score_is_the_last_object_that_has_one(printed: str, expected: float) -> None:
    assert score(program("sys.stdout.write(sys.argv[1])", printed)).score == expected


def test_bytes_that_are_no_text_around_the_score_do_no_harm() -> None:
    found = program("""
sys.stdout.buffer.write(b'\\xff\\xfe noise\\n')
sys.stdout.buffer.write(b'{"score": 1, "feedback": "caf\\xe9 \\xe2\\x80\\xa8 ok"}\\n')
""")
    assert score(found).text == "caf\ufffd \u2028 ok"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ('["a", 1]', '["a", 1]'),
        ('{"line": 3}', '{"line": 3}'),
        ("7", "7"),
        ("null", "it gave the score 1.00."),
        ('"  "', "it gave the score 1.00."),
    ],
)
def test_feedback_that_is_no_text_is_shown_as_json(given: str, text: str) -> None:
    assert score(program(f'print(\'{{"score": 1, "feedback": {given}}}\')')).text == text


def test_values_of_variables_that_hold_secrets_are_taken_out_of_what_a_program_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCK_API_KEY", "hunter2-hunter2")
    told = "print(json.dumps({'score': 1, 'feedback': os.environ['DOCK_API_KEY'] + ' ok'}))"
    assert score(program(told, env=["DOCK_API_KEY"])).text == "[DOCK_API_KEY] ok"
    message = failure(program("sys.exit(os.environ['DOCK_API_KEY'])", env=["DOCK_API_KEY"]))
    assert "hunter2" not in message
    assert message.strip().endswith("[DOCK_API_KEY]")


# failures


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("sys.exit('dock failed')", "it exited with code 1. Its stderr ends:\ndock failed"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11 (SIGSEGV)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "(SIGKILL), not by this server; it had used 1"),
        ("pass", "but printed nothing"),
        ("print('score: 1')", "but printed score: 1"),
        ("print('x' * 300 + 'end')", "xxend"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\xff')", "but printed \ufffd\ufffd\ufffd"),
        ("print('[' * 100000)", "but printed …[[["),
        ("print('{\"a\":' * 100000)", "but printed …"),
        ("print('[1]')", 'it must print {"score": 0..1, "feedback": "..."}, as all that it'),
        ('print(\'{"feedback": "x"}\')', "it must print"),
        ("print('{\"score\": 1.5}')", "its score is 1.5, no number from 0 to 1"),
        ("print('{\"score\": -0.1}')", "its score is -0.1, no number from 0 to 1"),
        ("print('{\"score\": NaN}')", "its score is NaN, no number from 0 to 1"),
        ("print('{\"score\": Infinity}')", "its score is Infinity, no"),
        ('print(\'{"score": "1"}\')', 'its score is "1", no number'),
        ("print('{\"score\": null}')", "its score is null, no number"),
        ("print('{\"score\": ' + '9' * 5000 + '}')", "it must print"),
        ("print('x' * 2_000_000); time.sleep(60)", "printed more than 1,048,576 bytes and was st"),
    ],
)
def test_a_program_that_fails_on_a_text_says_how(source: str, says: str) -> None:
    assert says in failure(program(source))


def test_stderr_in_a_failure_is_cut_to_its_end() -> None:
    message = failure(program("sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(1)"))
    assert message.strip().endswith("xthe end")
    assert len(message) < 1200


def test_a_time_out_tells_how_far_the_program_came() -> None:
    command = ["sh", "-c", "echo docking >&2; sleep 60"]
    message = failure(Evaluators({"it": EvaluatorSettings(command=command, timeout=2.0)}))
    assert "it did not finish within 2 s and was stopped. Its stderr ends:\ndocking" in message


# what cannot be run, and where it is looked for


def test_a_program_that_cannot_be_run_is_named_with_the_path_that_was_tried(
    tmp_path: Path,
) -> None:
    def tried(*command: str) -> str:
        settings = EvaluatorSettings(command=list(command), folder=tmp_path)
        return refusal(Evaluators({"it": settings}))

    assert tried("nosuch") == (
        f"The evaluator it cannot be run: nosuch is not on the PATH, and {tmp_path}/nosuch is not "
        "there."
    )
    assert f"cannot be run: {tmp_path}/bin/dock is not there" in tried("bin/dock")
    assert "cannot be run: /no/such/dock is not there" in tried("/no/such/dock")
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    assert f"{plain} is not executable" in tried("./plain")
    assert "is not there" in tried(str(tmp_path))  # a folder is no program
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    assert "No such file or directory" in tried("./broken")
    broken.write_text("no program at all")
    assert "Exec format error" in tried("./broken")


def test_relative_paths_of_a_command_mean_the_folder_of_its_settings(tmp_path: Path) -> None:
    show = "print(json.dumps({'score': 1, 'feedback': json.dumps(sys.argv[1:])}))"
    tmp_path.joinpath("show.py").write_text("import json, sys\n" + show)
    tmp_path.joinpath("data", "sets").mkdir(parents=True)
    tmp_path.joinpath("data", "rec.pdb").touch()
    there = ["show.py", "data/rec.pdb", "--receptor=data/rec.pdb", "data/sets", "./data"]
    words = ["data", "--mode=data", "no.pdb", "x/y", "-", "--", "=", "", "a" * 5000, "/etc/hosts"]
    settings = EvaluatorSettings(command=[sys.executable, *there, *words], folder=tmp_path)
    assert json.loads(score(Evaluators({"it": settings})).text) == [
        f"{tmp_path}/data/rec.pdb",
        f"--receptor={tmp_path}/data/rec.pdb",
        f"{tmp_path}/data/sets",
        f"{tmp_path}/data",
        *words,
    ]


def test_a_program_in_the_folder_is_found_by_its_name_but_never_before_the_path(
    tmp_path: Path,
) -> None:
    for name in ("rate", "true"):
        own = tmp_path / name
        own.write_text("#!/bin/sh\necho '{\"score\": 0.5}'\n")
        own.chmod(0o755)
    found = Evaluators({"it": EvaluatorSettings(command=["rate"], folder=tmp_path)})
    assert score(found).score == 0.5
    hidden = Evaluators({"it": EvaluatorSettings(command=["true"], folder=tmp_path)})
    assert "printed nothing" in failure(hidden)
    spelt = Evaluators({"it": EvaluatorSettings(command=["./true"], folder=tmp_path)})
    assert score(spelt).score == 0.5


# names and settings


@pytest.mark.requirement("registered-programs")
def test_an_unknown_evaluator_gets_the_nearest_name_and_the_list() -> None:
    found = Evaluators({"vina": EvaluatorSettings(command=["x"], description="docking score")})
    with pytest.raises(BadInput, match=r"no evaluator 'vinna'. Did you mean vina\?") as caught:
        found.check("vinna")
    assert caught.value.next == "Evaluators: vina (docking score)."
    with pytest.raises(BadInput, match="Name an evaluator"):
        found.check("")
    with pytest.raises(BadInput, match="none is registered"):
        Evaluators({}).check("vina")


def test_a_list_of_evaluators_shows_what_each_measures_and_stays_short() -> None:
    many = {
        f"e{n}": EvaluatorSettings(command=["x"], description="long\nwords " * 100)
        for n in range(30)
    }
    assert Evaluators({"plain": EvaluatorSettings(command=["x"])}).listed == "plain"
    shown = Evaluators(many).listed
    assert shown.startswith("e0 (long words long words")
    assert shown.endswith("…), and 10 more")
    assert len(shown) < 20 * 210 + 20


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
