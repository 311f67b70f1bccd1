"""Scores a molecule for a goal: how well it docks and how drug-like it is, with reasons.

As an evaluator: `score({"smiles": ..., "goal": ...})`. A goal is a receptor of DOCKSTRING ("ACHE"),
or one that is wanted and one that is not ("JAK2, not LCK"). The score is the paper's, Vina's energy
plus 10 (1 - QED), laid on 0 to 1: 1 stands for -14 kcal/mol with a QED of 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rdkit import Chem, RDLogger

from examples.molecules.docking import CannotDock, Pose, dock, receptors
from examples.molecules.drug_likeness import HARD, DrugLikeness, drug_likeness

BEST_ENERGY = -14.0
QED_WEIGHT = 10.0
TOLERATED = -8.1
"""Energy in kcal/mol from which on binding to what is not wanted counts against a molecule; from
DOCKSTRING's task for JAK2 over LCK, where it is the median of LCK."""
MOST_ATOMS = 60
FINE = 0.98
"""A property that is so good beside its best does not hold QED down."""
SHOWN = 10  # contacts that feedback names

RDLogger.DisableLog("rdApp.*")


class BadMolecule(Exception):
    """A text is no molecule that can be scored; it says why."""


@dataclass(frozen=True)
class Goal:
    """The receptor to bind to, and one to leave alone."""

    wanted: str
    unwanted: str | None


def score(inputs: dict[str, str]) -> tuple[float, str]:
    """The score of `smiles` for `goal`, with what to know about it.

    Whatever the texts are, there is a score; 0 with the reason for what is no molecule.
    """
    try:
        goal = parse_goal(inputs.get("goal", ""))
        mol = parse_molecule(inputs.get("smiles", ""))
        poses = {name: dock(mol, name) for name in (goal.wanted, goal.unwanted) if name}
    except (BadMolecule, CannotDock) as error:
        return 0.0, f"Score 0: {error}."
    likeness = drug_likeness(mol)
    energy = binding(goal, {name: pose.energy for name, pose in poses.items()})
    value = combined(energy, likeness.qed)
    return value, feedback(value, goal, poses, likeness)


def combined(energy: float, qed: float) -> float:
    """The score from 0 to 1 of an energy in kcal/mol and a QED."""
    whole = (QED_WEIGHT * qed - energy) / (QED_WEIGHT - BEST_ENERGY)
    return min(1.0, max(0.0, whole))


def binding(goal: Goal, energies: dict[str, float]) -> float:
    """The energy that counts: of what is wanted, worsened by binding to what is not."""
    energy = energies[goal.wanted]
    if goal.unwanted:
        energy -= min(0.0, energies[goal.unwanted] - TOLERATED)
    return energy


def parse_goal(text: str) -> Goal:
    """A goal from its words. Raises BadMolecule."""
    found = re.fullmatch(r"\s*(\w+)(?:\s*,\s*not\s+(\w+))?\s*", text)
    names = [name for name in found.groups() if name] if found else []
    unknown = [name for name in names if name not in receptors()]
    if found is None or unknown:
        what = f"there is no receptor {unknown[0]!r}" if unknown else f"{text!r} is no goal"
        raise BadMolecule(f"{what}; a goal is NAME or 'NAME, not NAME' of {', '.join(receptors())}")
    return Goal(found[1], found[2])


def parse_molecule(text: str) -> Chem.Mol:
    """The molecule that a SMILES stands for. Raises BadMolecule."""
    smiles = text.strip()
    if not smiles or len(smiles.split()) > 1:
        raise BadMolecule("the text must be one SMILES string and nothing else")
    mol = Chem.MolFromSmiles(smiles, sanitize=False)
    if mol is None:
        raise BadMolecule(f"{smiles[:200]!r} is no valid SMILES")
    problems = Chem.DetectChemistryProblems(mol)
    if problems:
        raise BadMolecule(f"this molecule cannot be: {problems[0].Message()}")
    Chem.SanitizeMol(mol)
    pieces = len(Chem.GetMolFrags(mol))
    if pieces != 1:
        raise BadMolecule(f"it has {pieces} fragments; give one connected molecule, without salts")
    if mol.GetNumHeavyAtoms() > MOST_ATOMS:
        raise BadMolecule(f"it has {mol.GetNumHeavyAtoms()} heavy atoms; at most {MOST_ATOMS}")
    if not any(atom.GetAtomicNum() == 6 for atom in mol.GetAtoms()):
        raise BadMolecule("it has no carbon atom")
    return mol


def feedback(value: float, goal: Goal, poses: dict[str, Pose], likeness: DrugLikeness) -> str:
    """What a chemist would want to know, the figures first."""
    lines = [f"Score {value:.3f} (1 is best): {_formula(goal)}."]
    for name, pose in poses.items():
        unwanted = (
            f" (not wanted: weaker than {TOLERATED:g} is right)" if name == goal.unwanted else ""
        )
        lines.append(
            f"Docked into {name}: Vina {pose.energy:.1f} kcal/mol{unwanted}. {_near(pose)}"
        )
    lines.append(f"QED {likeness.qed:.3f}; what holds it down most: {_worst(likeness)}.")
    if likeness.alerts:
        lines.append(f"Structural alerts, no part of the score: {', '.join(likeness.alerts)}.")
    if likeness.broken_rules:
        lines.append(f"Breaks Lipinski's rules: {', '.join(likeness.broken_rules)}.")
    hard = ", which is hard" if likeness.access > HARD else ""
    lines.append(f"Synthetic accessibility {likeness.access:.1f} (1 easy, 10 hard){hard}.")
    return "\n".join(lines)


def _formula(goal: Goal) -> str:
    """How the score is made, in words."""
    energy = "energy"
    if goal.unwanted:
        energy += f" into {goal.wanted} - what {goal.unwanted} has beyond {TOLERATED:g} kcal/mol"
    whole = QED_WEIGHT - BEST_ENERGY
    return f"({QED_WEIGHT:g} QED - {energy}) / {whole:g}, so that 0.1 of QED is worth 1 kcal/mol"


def _near(pose: Pose) -> str:
    polar = [f"{c.residue} ({c.distance} Å)" for c in pose.contacts if c.polar][:SHOWN]
    other = [c.residue for c in pose.contacts if not c.polar][:SHOWN]
    said = f"Polar contacts: {', '.join(polar) or 'none'}. "
    return said + f"Other residues within 4 Å: {', '.join(other) or 'none'}."


def _worst(likeness: DrugLikeness) -> str:
    worst = [part for part in likeness.parts[:3] if part.good < FINE]
    said = [
        f"{one.name} {one.value:.4g} ({one.good:.2f} of what {one.best:.4g} would have)"
        for one in worst
    ]
    return ", ".join(said) or "nothing"
