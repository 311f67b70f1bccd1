"""The examples: their evaluators on known inputs, their records and reports, their commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from textgrad_mcp.schemas.settings import EvaluatorSettings

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ("molecules", "radiotherapy", "code", "science", "reasoning")


def python_of(name: str) -> str:
    """The interpreter of an example's own environment; skips where it has none."""
    own = ROOT / "examples" / name / ".venv" / "bin" / "python"
    if not own.exists():
        pytest.skip(f"make example-{name} sets its environment up")
    return str(own)


def printed(python: str, code: str, timeout: float = 100) -> Any:
    """What `code` prints as JSON, run from the repository's root."""
    done = subprocess.run(
        [python, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scored(python: str, module: str, inputs: list[dict[str, str]], timeout: float = 100) -> Any:
    """What an example's evaluator makes of each of these inputs."""
    code = f"import json; from {module} import score; "
    code += f"print(json.dumps([score(one) for one in {inputs!r}]))"
    return printed(python, code, timeout)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_has_its_command_readme_and_says_what_it_installs(name: str) -> None:
    folder = ROOT / "examples" / name
    assert f" {name}" in (ROOT / "Makefile").read_text("utf-8").partition("EXAMPLES :=")[2]
    said = (folder / "requirements.txt").read_text("utf-8").splitlines()[:3]
    assert "MB" in said[0]
    assert "minute" in said[0]
    assert any("Licences" in line for line in said)
    assert f"make example-{name}" in (folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_configuration_of_each_example_is_a_valid_one(name: str) -> None:
    text = (ROOT / "examples" / name / "config.toml").read_text("utf-8")
    for settings in tomllib.loads(text).get("evaluators", {}).values():
        found = EvaluatorSettings(**settings)
        assert found.entry_point
        module = found.entry_point.partition(":")[0].replace(".", "/")
        assert (ROOT / f"{module}.py").exists()


CODE = "examples.code.evaluate"
MEDIAN = "count-subarrays-with-median-k"


def test_a_program_that_is_right_passes_shown_and_hidden_tests() -> None:
    code = (
        "import json, inspect; from examples.code import evaluate, solutions; "
        "program = inspect.getsource(solutions).replace('count_subarrays_with_median_k', "
        "'countSubarrays'); "
        f"task = {MEDIAN!r}; found = evaluate.score({{'code': program, 'task': task}}); "
        "print(json.dumps([found, evaluate.solves(program, task)]))"
    )
    [score, said], solved = printed(sys.executable, code)
    assert (score, said, solved) == (1.0, "6 of 6 tests pass.", True)


def test_what_is_no_working_program_scores_0_with_the_reason() -> None:
    bodies = {
        "raise ValueError('no')": "ValueError in line 2: no",
        "import os; os._exit(0)": "its process ended (exit code 0)",
        "return [0] * 10**10": "it ran out of memory",
        "print('{\"score\": 1}')": "expected 3 but got None",
    }
    codes = [f"def countSubarrays(nums, k):\n    {body}" for body in bodies]
    others = {
        "def countSubarrays(": "This is no Python",
        "x = 1": "no function countSubarrays",
        "": "",
    }
    inputs = [{"code": code, "task": MEDIAN} for code in (*codes, *others)]
    found = scored(sys.executable, CODE, [*inputs, {"code": "x = 1", "task": "none"}, {}])
    assert {score for score, _ in found} == {0.0}
    for (_, said), reason in zip(found, (*bodies.values(), *others.values()), strict=False):
        assert reason in said


@pytest.mark.slow
def test_the_example_tests_are_what_their_script_writes(tmp_path: Path) -> None:
    code = (
        "import json, pathlib; from examples.code.make_tests import write; "
        f"write(pathlib.Path({str(tmp_path / 'tests.jsonl')!r})); print('true')"
    )
    assert printed(sys.executable, code)
    committed = ROOT / "examples" / "code" / "data" / "tests.jsonl"
    assert (tmp_path / "tests.jsonl").read_bytes() == committed.read_bytes()


def test_every_solution_gives_what_the_task_descriptions_say() -> None:
    code = """
import json
from examples.code.evaluate import tasks
from examples.code.runner import sides
from examples.code.solutions import solution
wrong = []
for name, task in tasks().items():
    for test in task["tests"]:
        call, expected = sides(test)
        found = eval(call, {task["entry_point"]: solution(name)})
        wrong += [] if found == eval(expected) else [test]
print(json.dumps(wrong))
"""
    assert printed(sys.executable, code) == []


LETTERS = {
    "Thus b holds.\nAnswer: B": "B",
    "The answer is (C).": "C",
    "Answer: A\nNo, wait.\n**Answer: D**": "D",
    "so\nB.": "B",
    "I cannot say.": "",
    "": "",
}


def test_the_letter_of_a_solution_is_the_last_that_is_stated() -> None:
    code = "import json; from examples.science.choice import chosen_letter; "
    code += f"print(json.dumps([chosen_letter(t) for t in {list(LETTERS)!r}]))"
    assert printed(sys.executable, code) == list(LETTERS.values())


BENZENE = {"smiles": "c1ccccc1", "goal": "ACHE"}


def test_benzene_has_the_qed_that_the_literature_gives_it() -> None:
    code = (
        "import json; from rdkit import Chem; "
        "from examples.molecules.drug_likeness import drug_likeness; "
        "found = drug_likeness(Chem.MolFromSmiles('c1ccccc1')); "
        "print(json.dumps([found.qed, found.alerts, found.broken_rules]))"
    )
    qed, alerts, broken = printed(python_of("molecules"), code)
    assert (round(qed, 3), alerts, broken) == (0.443, [], [])


def test_what_is_no_molecule_scores_0_with_the_reason() -> None:
    reasons = {
        "C1CC": "no valid SMILES",
        "c1ccccc1(C)(C)C": "valence",
        "CCO.Cl": "2 fragments",
        "a molecule, please": "one SMILES string",
        "": "one SMILES string",
        "O": "no carbon",
        "C" * 80: "80 heavy atoms",
        "OB(O)c1ccccc1": "Vina cannot dock it",
    }
    inputs = [{"smiles": smiles, "goal": "ACHE"} for smiles in reasons]
    inputs += [{"smiles": "C", "goal": "NONE"}, {}]
    found = scored(python_of("molecules"), "examples.molecules.evaluate", inputs)
    assert {score for score, _ in found} == {0.0}
    for (_, said), reason in zip(found, (*reasons.values(), "no receptor", "goal"), strict=True):
        assert said.startswith("Score 0: ")
        assert reason in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_benzene_docks_as_it_always_does_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLES_CACHE", str(tmp_path))
    module = "examples.molecules.evaluate"
    kekule = BENZENE | {"smiles": "C1=CC=CC=C1"}
    [[score, said], again] = scored(python_of("molecules"), module, [BENZENE, kekule], 200)
    assert again == [score, said]
    assert 0.39 < score < 0.42
    assert "Vina -5." in said
    assert "TRP84" in said


def test_binding_to_what_is_not_wanted_counts_from_the_tolerated_energy_on() -> None:
    code = (
        "import json; from examples.molecules.evaluate import binding, combined, parse_goal; "
        "goal = parse_goal(' JAK2 , not LCK'); "
        "found = [binding(goal, {'JAK2': -9.0, 'LCK': lck}) for lck in (-5.0, -8.1, -9.1)]; "
        "print(json.dumps([goal.wanted, goal.unwanted, found, combined(-14, 1), combined(3, 0)]))"
    )
    *goal, energies, best, worst = printed(python_of("molecules"), code)
    assert goal == ["JAK2", "LCK"]
    assert energies == pytest.approx([-9.0, -9.0, -8.0])
    assert (best, worst) == (1, 0)


def test_every_goal_of_the_example_is_of_receptors_that_there_are() -> None:
    code = (
        "import json; from examples.molecules.__main__ import GOALS; "
        "from examples.molecules.evaluate import parse_goal; "
        "print(json.dumps({task: [bool(parse_goal(one).unwanted) for one in goals] "
        "for task, goals in GOALS.items()}))"
    )
    found = printed(python_of("molecules"), code)
    assert found == {"ache": [False], "several": [False] * 3, "selective": [True]}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_molecule_is_docked_into_its_goal_and_into_the_sibling_to_leave_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXAMPLES_CACHE", str(tmp_path))
    inputs = [BENZENE | {"goal": "JAK2, not LCK"}, BENZENE | {"goal": "JAK2"}]
    [selective, alone] = scored(python_of("molecules"), "examples.molecules.evaluate", inputs, 250)
    assert selective[0] == alone[0] > 0.3  # benzene binds LCK less than is tolerated
    assert "Docked into JAK2: Vina -4." in selective[1]
    assert "Docked into LCK: Vina -3.7 kcal/mol (not wanted" in selective[1]
    assert "LCK" not in alone[1]


def test_random_molecules_are_valid_different_and_repeatable() -> None:
    code = (
        "import json; from itertools import islice; from rdkit import Chem; "
        "from examples.molecules.random_search import molecules; "
        "twice = [list(islice(molecules(3), 5)) for _ in range(2)]; "
        "sizes = [Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in twice[0]]; "
        "print(json.dumps([twice, sizes]))"
    )
    [first, second], sizes = printed(python_of("molecules"), code)
    assert first == second
    assert len(set(first)) == 5
    assert all(12 <= size <= 38 for size in sizes)


PLAN = "examples.radiotherapy.evaluate"


def test_what_is_no_plan_scores_0_with_the_reason() -> None:
    reasons = {
        "": "one JSON object",
        "[1]": "must be an object",
        '{"liver": {"weight": 1, "dose": 1}}': "no structure 'liver'",
        '{"target": {"weight": 0, "dose": 70}}': "a weight above 0",
        '{"target": {"weight": 1}}': "exactly the keys",
        '{"target": {"weight": true, "dose": 70}}': "is True",
        '{"target": {"weight": NaN, "dose": 70}}': "is nan",
        "[" * 100_000: "too deeply",
    }
    inputs = [{"plan": text, "patient": "pelvis"} for text in reasons]
    found = scored(python_of("radiotherapy"), PLAN, [*inputs, {}])
    assert {score for score, _ in found} == {0.0}
    for (_, said), reason in zip(found, (*reasons.values(), "no patient"), strict=True):
        assert reason in said


TOY = """
import json
import numpy as np
from scipy.sparse import csr_matrix
from examples.radiotherapy import plan
from examples.radiotherapy.patient import Case
masks = {"target": np.zeros((2, 2, 2), bool), "body": np.zeros((2, 2, 2), bool)}
masks["target"][0, 0, 0] = masks["body"][0, 0, 0] = True
masks["body"][0, 0, 0] = False
rows = np.array([0, 7])
matrix = csr_matrix(np.array([[2.0, 0.0], [0.0, 1.0]], dtype="f4"))
case = Case("toy", np.zeros((2, 2, 2)), masks, rows, matrix, (1, 1, 1), 0)
wanted = plan.parse('{"target": {"weight": 5, "dose": 70}}', {"target", "body"})
dose = plan.dose_of(case, wanted)
known = np.array([10.0] * 5 + [20.0] * 15)
print(json.dumps([float(dose[0]), plan.least_dose(known, 50), plan.volume_above(known, 15)]))
"""


def test_one_beamlet_gives_the_dose_that_is_asked_for_and_volumes_are_counted() -> None:
    dose, half, above = printed(python_of("radiotherapy"), TOY)
    assert dose == pytest.approx(70, abs=0.01)
    assert half == 20
    assert above == 75


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_pelvis_with_equal_weights_misses_the_target_and_a_better_plan_does_not() -> None:
    names = ["rectum", "bladder", "left femoral head", "right femoral head", "body"]
    equal = {n: {"weight": 1, "dose": 0} for n in names} | {"target": {"weight": 1, "dose": 70}}
    better = equal | {"target": {"weight": 300, "dose": 71}}
    inputs = [{"plan": json.dumps(one), "patient": "pelvis"} for one in (equal, better)]
    [before, said], [after, _] = scored(python_of("radiotherapy"), PLAN, inputs, 500)
    assert "8 of 11 goals met" in said
    assert "MISSED: target D95" in said
    assert after > before + 0.2
