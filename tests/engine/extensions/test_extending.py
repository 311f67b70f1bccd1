"""What installed packages add: docs/extending.md as it stands, in a package of its own, in use."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import textgrad_mcp.engine as surface
from pydantic import SecretStr
from textgrad_mcp.engine.constraints.rules import RULES
from textgrad_mcp.engine.extensions.operations import FORWARD, LOSSES
from textgrad_mcp.engine.extensions.table import Table
from textgrad_mcp.engine.metrics import METRICS
from textgrad_mcp.engine.optimizer.strategies import STRATEGIES
from textgrad_mcp.schemas import errors
from textgrad_mcp.schemas.graph import Fate
from textgrad_mcp.schemas.settings import RoleSettings

from ...helpers import Facts, Process, assisted, process

DOC = Path(__file__).parent.parent.parent.parent / "docs" / "extending.md"
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GROUPS = "textgrad_mcp."


def blocks(language: str) -> list[str]:
    """The code in the document."""
    return [
        code for name, code in BLOCKS.findall(DOC.read_text(encoding="utf-8")) if name == language
    ]


def modules() -> dict[str, str]:
    """The Python files in the document, by their paths."""
    return {code.partition("\n")[0].removeprefix("# "): code for code in blocks("python")}


def points() -> dict[str, dict[str, str]]:
    """The entry points in the document, by their groups."""
    [code] = blocks("toml")
    found: dict[str, dict[str, str]] = tomllib.loads(code)["project"]["entry-points"]
    return found


def install(
    site: Path, name: str, files: Mapping[str, str], added: Mapping[str, Mapping[str, str]]
) -> None:
    """A package in `site` as an installer leaves it there."""
    for path, code in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(code, encoding="utf-8")
    about = site / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, those in added.items()
        for line in (f"[{group}]", *(f"{one} = {place}" for one, place in those.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the package of the document installed in it."""
    folder = tmp_path / "site"
    files = {path: code for path, code in modules().items() if path.startswith("acme_textgrad/")}
    install(folder, "acme-textgrad", files, points())
    return folder


def run(code: str, site: Path | None, folder: Path) -> str:
    """What `code` prints in a process that has `site` on its path."""
    path = os.pathsep.join(map(str, [*([site] if site else []), *sys.path]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requirement("extending")
def test_the_document_adds_one_of_each_and_shows_it_in_some_twenty_lines() -> None:
    groups = ["operations", "losses", "metrics", "constraints", "strategies", "answerers"]
    assert set(points()) == {GROUPS + group for group in [*groups, "evaluators"]}
    for path, code in modules().items():
        told = [line for line in code.splitlines() if line.strip()]
        assert len(told) <= 25, path


@pytest.mark.requirement("extending")
def test_the_program_of_the_document_runs(site: Path, tmp_path: Path) -> None:
    assert "score=1.0" in run(modules()["use.py"], site, tmp_path)


def test_each_of_ours_stands_in_its_table_by_its_own_name() -> None:
    tables: list[Table[Any]] = [FORWARD, LOSSES, METRICS, STRATEGIES]
    for table in tables:
        assert [table[name].name for name in table.own] == list(table.own)
    assert [RULES[key].key for key in RULES.own] == list(RULES.own)
    assert all(isinstance(FORWARD[name], surface.Primitive) for name in FORWARD.own)
    assert all(isinstance(LOSSES[name], surface.Loss) for name in LOSSES.own)


ALL = """
import asyncio, json, sys
from textgrad_mcp.engine import Caller, EvaluatorSettings, RoleSettings, Settings, open_engine

ME = Caller(deadline=60)
SAME_START = {"metric": "same_start", "options": {"characters": 3}}
ROWS = [{"q": f"question {n}", "a": "Yes"} for n in range(4)]
assert not any(m.startswith("acme") for m in sys.modules)


async def main():
    role = RoleSettings(answerer="canned")
    async with open_engine("t.db", Settings(forward=role, backward=role)) as engine:
        made = await engine.create_variable(
            ME,
            role="prompt",
            value="Be kind. Say yes. Be brief.",
            constraints=["never_says=maybe", "keep=Be kind."],
        )
        s = made.session_id
        await engine.create_variable(ME, session_id=s, role="q", example_field="q")
        await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
        for split in ("train", "validation"):
            await engine.add_examples(ME, session_id=s, split=split, examples=ROWS)
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
        await engine.forward(
            ME, session_id=s, operation="first_code_block", inputs={"text": "v4"}
        )
        scores = []
        for kind, more, inputs in (
            ("metric", SAME_START, {"o": "v5", "answer": "v3"}),
            ("yes_no", {"instruction": "Is it kind?"}, {"o": "v5"}),
            ("evaluator", {"evaluator": "compiles"}, {"o": "v5"}),
        ):
            loss = await engine.compute_loss(ME, session_id=s, kind=kind, inputs=inputs, **more)
            assert loss.status == "done", loss
            scores.append(loss.mean_score)
        found = await engine.optimize(
            ME, session_id=s, loss="v6", strategy="leave_one_out", steps=1, goal=1.0, patience=1
        )
        seen = await engine.optimize(
            ME, session_id=s, loss="v8", strategy="worst_first", steps=1, patience=1
        )
        backward = await engine.backward(ME, session_id=s, losses=["v8"])
        session = await engine.store.sessions.get(s, "local")
        document = await engine.store.export.export_session(session.pk)
        optimized = [found.status, seen.status]
        print(json.dumps([scores, optimized, backward.status, backward.error, document]))


asyncio.run(main())
"""


@pytest.mark.requirement("extending")
def test_one_of_each_works_together_and_is_loaded_when_it_is_used(
    site: Path, tmp_path: Path
) -> None:
    scores, optimized, backward, error, document = json.loads(run(ALL, site, tmp_path))
    assert scores == [1.0, 1.0, 0.0]
    assert optimized == ["done", "done"]
    assert (backward, error) != ("done", None)  # "Yes, of course." is no feedback in the form asked
    kinds = [row["kind"] for row in document["operations"]]
    assert kinds == ["llm", "first_code_block", "metric", "yes_no", "evaluator"]
    last = document["proposals"][-1]
    assert last["text"] == "Yes, of course."
    assert last["fate"] == Fate.BROKEN, last
    assert "Be kind." in last["reason"]
    assert "It is no valid Python" in document["gradients"][-1]["text"]


STEPS = """
import asyncio, json
from textgrad_mcp.engine import BadInput, Caller, RoleSettings, Settings, open_engine

ME = Caller(deadline=60)
ROWS = [{"q": f"question {n}", "a": "No"} for n in range(3)]


async def main():
    role = RoleSettings(answerer="canned")
    async with open_engine("t.db", Settings(forward=role, backward=role)) as engine:
        value, rules = "Be kind. Say yes. Be brief.", ["keep=Be kind."]
        made = await engine.create_variable(ME, role="prompt", value=value, constraints=rules)
        s = made.session_id
        await engine.create_variable(ME, session_id=s, role="q", example_field="q")
        await engine.create_variable(ME, session_id=s, role="a", example_field="a", reference=True)
        await engine.add_examples(ME, session_id=s, split="train", examples=ROWS)
        await engine.forward(ME, session_id=s, operation="llm", system="v1", inputs={"q": "v2"})
        judged = {"metric": "same_start", "inputs": {"output": "v4", "answer": "v3"}}
        await engine.compute_loss(ME, session_id=s, kind="metric", **judged)
        for by in ("worst_first", "leave_one_out"):
            step = await engine.step(ME, session_id=s, strategy=by, candidates=2)
            assert step.status == "done", step
        try:
            await engine.step(ME, session_id=s, strategy="nobody")
        except BadInput as error:
            print(json.dumps(str(error)))
        session = await engine.store.sessions.get(s, "local")
        print(json.dumps((await engine.store.export.export_session(session.pk))["proposals"]))


asyncio.run(main())
"""


@pytest.mark.requirement("extending")
def test_a_step_takes_added_strategies_as_optimize_does_and_looks_at_what_they_bring(
    site: Path, tmp_path: Path
) -> None:
    refused, proposals = map(json.loads, run(STEPS, site, tmp_path).splitlines())
    assert "nobody" in refused
    assert "leave_one_out" in refused
    found = [(one["text"], one["fate"]) for one in proposals]
    assert found == [
        ("Yes, of course.", Fate.BROKEN),
        ("Say yes. Be brief.", Fate.BROKEN),
        ("Be kind. Be brief.", Fate.ACCEPTED),
    ]


WITHOUT = """
import asyncio, json
from textgrad_mcp.engine import Caller, TextGradError, open_engine
from textgrad_mcp.engine.tools.imported import check_meaning

ME = Caller(deadline=60)


async def main():
    async with open_engine("t.db") as engine:
        [one] = await engine.store.sessions.of_owner("local", 10)
        graph = await engine.inspect(ME, session_id=one.id, what="graph")
        assert "first_code_block" in graph.model_dump_json()
        session = await engine.store.sessions.get(one.id, "local")
        document = json.loads(json.dumps(await engine.store.export.export_session(session.pk)))
        tries = {
            "metric": engine.evaluate(ME, session_id=one.id, loss="v6"),
            "evaluate": engine.evaluate(ME, session_id=one.id, loss="v7"),
            "optimize": engine.optimize(ME, session_id=one.id, loss="v8"),
            "loss": engine.compute_loss(
                ME, session_id=one.id, kind="sum", inputs={"a": "v6", "b": "v7"}
            ),
            "import": engine.store.export.import_session("other", document, check_meaning),
        }
        said = {}
        for name, one_try in tries.items():
            try:
                found = await one_try
                said[name] = f"{found.status}: {found.error} {found.next}"
            except TextGradError as error:
                said[name] = str(error)
        await engine.remove(ME, session_id=one.id, ids=["v5"], confirm=True)
        again = await engine.compute_loss(
            ME, session_id=one.id, kind="metric", metric="exact_match",
            inputs={"output": "v4", "answer": "v3"},
        )
        assert again.status == "done", again
        print(json.dumps(said))


asyncio.run(main())
"""


@pytest.mark.requirement("extending", "ways-out")
def test_without_its_package_a_session_is_seen_and_what_needs_it_refused_in_words(
    site: Path, tmp_path: Path
) -> None:
    run(ALL, site, tmp_path)
    said: dict[str, str] = json.loads(run(WITHOUT, None, tmp_path))
    assert "v6: There is no metric 'same_start'" in said["metric"]
    assert "remove=['v6']" in said["metric"]
    assert "here: a package that is not installed brought it" in said["evaluate"]
    assert "There is no operation 'first_code_block' here" in said["optimize"]
    assert "remove=['v5']" in said["optimize"]
    assert "There is no operation 'yes_no' here" in said["loss"]
    assert "first_code_block" in said["import"]
    assert all("Traceback" not in words for words in said.values())


BROKEN = {
    "broken/wrong.py": "THING = 'neither this nor that'\n",
    "broken/raises.py": "raise SystemExit('bye')\n",
    "broken/fails.py": """
from textgrad_mcp.engine import Constraint, Metric, Options, Primitive, Rule, Strategy, Value

class Fails(Primitive):
    name = "fails"
    async def compute(self, work, operation, inputs):
        raise KeyError("gone")

class Odd(Primitive):
    name = "odd"
    def compute(self, work, operation, inputs):
        return "a text"

def metric(judge):
    return Metric("any", "any", Options, judge, needs_answer=False)

def propose(*args, **named):
    raise OSError("no strategy")

FAILS, ODD = Fails(), Odd()
METRIC_FAILS = metric(lambda *texts: 1 / 0)
METRIC_ODD = metric(lambda *texts: 3)
METRIC_BEYOND = metric(lambda *texts: Value(text="", score=7))
MADE_ODD = Constraint("odd", "odd=1", str)
RULE_FAILS = Constraint("fails", "fails=1", lambda text: Rule("Be good.", lambda old, new: 1 / 0))
STRATEGY_FAILS = Strategy("fails", direct=True, propose=propose)
REFLECT_FAILS = Strategy("blind", reflect=propose)
REFLECT_ODD = Strategy("mute", reflect=lambda *seen: "better")
def answerer(settings, limiters):
    return 3

def telling(settings, limiters):
    raise ValueError(f"no such key: {settings.api_key.get_secret_value()}")
""",
}
BROKEN_POINTS = {
    "metrics": {
        "missing": "nowhere:METRIC",
        "wrong": "wrong:THING",
        "exits": "raises:METRIC",
        "fails": "fails:METRIC_FAILS",
        "odd": "fails:METRIC_ODD",
        "beyond": "fails:METRIC_BEYOND",
        "exact_match": "raises:METRIC",
        "No Name!": "fails:METRIC_ODD",
    },
    "operations": {"wrong": "wrong:THING", "fails": "fails:FAILS", "odd": "fails:ODD"},
    "losses": {"gone": "nowhere:LOSS", "no_loss": "fails:ODD", "llm": "fails:ODD"},
    "constraints": {"odd": "fails:MADE_ODD", "gone": "nowhere:C", "fails": "fails:RULE_FAILS"},
    "strategies": {
        "gone": "nowhere:STRATEGY",
        "fails": "fails:STRATEGY_FAILS",
        "blind": "fails:REFLECT_FAILS",
        "mute": "fails:REFLECT_ODD",
    },
    "answerers": {"gone": "nowhere:make", "three": "fails:answerer", "tells": "fails:telling"},
}
UNUSABLE: list[tuple[str, str, str]] = [
    ("metric", "missing", "cannot be loaded: ModuleNotFoundError"),
    ("metric", "wrong", "is of type str, not Metric"),
    ("metric", "exits", "cannot be loaded: SystemExit: bye"),
    ("metric", "fails", "failed: ZeroDivisionError: division by zero"),
    ("metric", "odd", "made int, not Value"),
    ("metric", "beyond", "gave the score 7, which is not from 0 to 1"),
    ("operation", "wrong", "is of type str, not Primitive"),
    ("operation", "fails", "failed: KeyError: 'gone'"),
    ("operation", "odd", "made str, not Value"),
    ("loss", "gone", "cannot be loaded: ModuleNotFoundError"),
    ("loss", "no_loss", "is of type Odd, not Loss"),
    ("constraint", "gone", "cannot be loaded: ModuleNotFoundError"),
    ("constraint", "odd", "made str, not Rule"),
    ("strategy", "gone", "cannot be loaded: ModuleNotFoundError"),
    ("strategy", "fails", "failed: OSError: no strategy"),
    ("strategy", "blind", "failed: OSError: no strategy"),
    ("strategy", "mute", "made str, not tuple"),
]


def call_for(what: str, name: str) -> tuple[str, Facts]:
    """A tool's call that uses a thing of that name."""
    inputs = {"output": "v1"}
    calls: dict[str, tuple[str, Facts]] = {
        "metric": ("compute_loss", {"kind": "metric", "metric": name, "inputs": inputs}),
        "operation": ("forward", {"operation": name, "inputs": inputs}),
        "loss": ("compute_loss", {"kind": name, "inputs": inputs}),
        "constraint": ("create_variable", {"role": "r", "value": "x"}),
        "strategy": ("optimize", {"strategy": name, "steps": 1}),
    }
    tool, arguments = calls[what]
    return tool, arguments | ({"constraints": [f"{name}=1"]} if what == "constraint" else {})


async def words_of(call: Process, tool: str, **arguments: Any) -> str:
    """What is told of a call that could not do its work."""
    result = await call.raw(tool, arguments)
    facts = result.structured_content or {}
    assert facts["status"] == "failed", facts
    return f"{facts['error']} {facts['next']}"


def with_broken(folder: Path) -> str:
    """Installs what is broken; gives the code that puts it on a server's path."""
    added = {
        GROUPS + group: {name: f"broken.{place}" for name, place in those.items()}
        for group, those in BROKEN_POINTS.items()
    }
    install(folder / "site", "broken-one", BROKEN, added)
    return f"import sys; sys.path.insert(0, {str(folder / 'site')!r})"


@pytest.mark.requirement("extending")
def test_a_broken_package_is_told_in_words_and_harms_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with process(assisted(tmp_path / "t.db"), with_broken(tmp_path)) as call:
            s = str((await call("create_variable", role="r", value="x"))["session_id"])
            good = {"output": "v1", "answer": "v1"}
            exact = {"kind": "metric", "metric": "exact_match", "inputs": good}
            done = await call("compute_loss", session_id=s, **exact)
            assert done["values"][0]["score"] == 1.0
            taken = await call.refused("compute_loss", session_id=s, kind="llm", inputs=good)
            assert "There is no loss of kind 'llm'" in taken
            await call("create_variable", session_id=s, role="wanted", value="y", reference=True)
            other = exact | {"inputs": {"output": "v1", "answer": "v3"}}
            loss = (await call("compute_loss", session_id=s, **other))["loss"]
            for what, name, words in UNUSABLE:
                tool, arguments = call_for(what, name)
                arguments |= {"loss": loss} if what == "strategy" else {}
                said = await words_of(call, tool, session_id=s, **arguments)
                assert f"The {what} {name!r}, which the package broken-one 1.0 adds," in said
                assert words in said
                assert "Mend or uninstall that package" in said
            assert (await call("evaluate", session_id=s, loss=loss))["status"] == "done"

    asyncio.run(main())


RULE = """
import asyncio
from textgrad_mcp.engine import TextGradError
from textgrad_mcp.engine.constraints.checks import violations
from textgrad_mcp.engine.workers.pool import Workers

async def main():
    workers = Workers()
    try:
        print(await violations(workers, "me", ["max_chars=1", "fails=1"], "a", "b"))
    except TextGradError as error:
        print(error)
    finally:
        await workers.close()

asyncio.run(main())
"""


@pytest.mark.requirement("extending", "bounded-work")
def test_a_constraint_that_is_added_is_checked_in_a_worker_and_may_fail_there(
    tmp_path: Path,
) -> None:
    with_broken(tmp_path)
    said = run(RULE, tmp_path / "site", tmp_path)
    assert "The constraint 'fails', which the package broken-one 1.0 adds, failed: Zero" in said


@pytest.mark.requirement("extending")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "cannot be loaded: ModuleNotFoundError"),
        ("three", "it has no name, model"),
        ("tells", "failed: ValueError: no such key: [key]."),
    ],
)
def test_an_answerer_that_cannot_be_is_told_by_every_call(
    name: str, words: str, tmp_path: Path
) -> None:
    async def main() -> None:
        settings = assisted(tmp_path / "t.db")
        settings.backward = RoleSettings(answerer=name, api_key=SecretStr("marked-3141"))
        async with process(settings, with_broken(tmp_path)) as call:
            said = await words_of(call, "create_variable", role="r", value="x")
            assert f"The answerer {name!r}" in said
            assert words in said

    asyncio.run(main())


@pytest.mark.requirement("extending")
def test_a_server_names_what_is_added_without_loading_it(site: Path, tmp_path: Path) -> None:
    code = """
import asyncio, json, sys
from textgrad_mcp.engine.extensions import table
from textgrad_mcp.schemas.settings import Settings
from textgrad_mcp.server.protocol.app import build
server = build(Settings())
assert table.points.cache_info().currsize == 0
tools = {t.name: t.input_schema["properties"] for t in asyncio.run(server.list_tools())}
assert not any(m.startswith("acme") for m in sys.modules)
assert "textgrad_mcp.engine.engine" not in sys.modules
print(json.dumps([
    tools["forward"]["operation"]["enum"][-1], tools["compute_loss"]["kind"]["enum"][-1],
    tools["optimize"]["strategy"]["enum"][-1], tools["step"]["strategy"]["enum"][-1],
    tools["compute_loss"]["metric"]["description"],
    tools["create_variable"]["constraints"]["description"],
]))
"""
    operation, loss, *strategy, metric, constraint = json.loads(run(code, site, tmp_path))
    assert (operation, loss) == ("first_code_block", "yes_no")
    assert strategy == ["worst_first", "worst_first"]
    assert metric.endswith("Also same_start.")
    assert constraint.endswith("Also never_says.")


@pytest.mark.requirement("extending")
def test_an_assistant_uses_what_is_added_through_the_server(site: Path, tmp_path: Path) -> None:
    async def main() -> None:
        first = f"import sys; sys.path.insert(0, {str(site)!r})"
        async with process(assisted(tmp_path / "t.db"), first) as call:
            made = await call("create_variable", role="r", value="```py\nx = 1\n```")
            s = made["session_id"]
            given: Facts = {"session_id": s, "inputs": {"text": "v1"}}
            code = await call("forward", operation="first_code_block", **given)
            assert code["values"][0]["text"] == "x = 1\n"
            asked = await call("compute_loss", kind="yes_no", instruction="Is it code?", **given)
            [pending] = asked["pending"]
            answers = {pending["id"]: "No, it has a fence."}
            done = await call("resume", session_id=s, completions=answers)
            assert done["values"][0]["score"] == 0.0
            await call("backward", session_id=s)
            shown = await call("inspect", session_id=s, what="gradients")
            assert "No, it has a fence." in json.dumps(shown)

    asyncio.run(main())


SURFACE = """
Answerer AnswererError BadInput BudgetExhausted Caller Candidate Check Completion CompletionRequest
Conflict Constraint CutOff EndpointDown EndpointRefused Engine EvaluatorSettings ExampleError
ExampleRefused ExtensionFailed Go Gradient Inputs InternalError Loss Message Metric NotFound
Operation Options Outdated Primitive ProgramFailed PromptRefused Purpose QuotaExceeded RecordAttempt
ReplyError RoleSettings Rule RunContext Seen Settings StoreBusy StoreError Strategy
TextGradError TooLong Value Variable open_engine
"""


@pytest.mark.requirement("public-surface")
def test_the_public_surface_is_this_list_and_each_can_be_had() -> None:
    assert surface.__all__ == SURFACE.split()
    assert all(getattr(surface, name) is not None for name in surface.__all__)
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {n for n in kinds if issubclass(getattr(errors, n), Exception)} <= set(surface.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = surface.nothing


@pytest.mark.requirement("public-surface")
def test_the_public_surface_is_loaded_when_it_is_used(tmp_path: Path) -> None:
    code = (
        "import sys, textgrad_mcp.engine\nprint([m for m in sys.modules if 'textgrad_mcp.' in m])"
    )
    assert run(code, None, tmp_path).strip() == "['textgrad_mcp.engine']"
