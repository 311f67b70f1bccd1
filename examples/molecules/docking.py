"""Docks a molecule into a receptor with AutoDock Vina. Receptors and boxes are DOCKSTRING's."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from meeko import MoleculePreparation, PDBQTMolecule, PDBQTWriterLegacy, RDKitMolCreate
from rdkit import Chem
from rdkit.Chem import AllChem
from vina import Vina

from examples.common.cache import cache_folder

BOX = 22.0
"""Edge of the cube that is searched, in Å."""
EXHAUSTIVENESS = 2
SEED = 20261126
NEAR = 4.0
"""A residue closer than this, in Å, is a contact."""
POLAR = 3.5
"""A nitrogen or oxygen this close to one of the receptor's counts as a polar contact."""


class CannotDock(Exception):
    """A molecule cannot be prepared or docked; the text says why."""


@dataclass(frozen=True)
class Contact:
    """A residue beside the pose, its distance in Å, and whether it is polar."""

    residue: str
    distance: float
    polar: bool


@dataclass(frozen=True)
class Pose:
    """The best pose: energy in kcal/mol (less is better), its contacts, and the pose as PDBQT."""

    energy: float
    contacts: list[Contact]
    pdbqt: str


def receptors() -> list[str]:
    """The names of all receptors."""
    return sorted(path.name.removesuffix("_target.pdbqt") for path in _folder().glob("*.pdbqt"))


def dock(mol: Chem.Mol, receptor: str) -> Pose:
    """The best pose of `mol`; the same each time, however it is spelled. Raises CannotDock.

    What was docked once is kept in the cache folder (`EXAMPLES_CACHE`, or ~/.cache), so that a
    replay draws its pose without docking again.
    """
    smiles = Chem.MolToSmiles(mol)
    settings = f"{smiles} {receptor} {BOX} {EXHAUSTIVENESS} {SEED} vina 1.2.7 canonical"
    kept = cache_folder("poses") / f"{hashlib.sha256(settings.encode()).hexdigest()[:24]}.json"
    if kept.exists():
        found = json.loads(kept.read_text("utf-8"))
        return Pose(found["energy"], [Contact(**c) for c in found["contacts"]], found["pdbqt"])
    pose = _docked(prepared(Chem.MolFromSmiles(smiles)), receptor)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(pose)), "utf-8")
    part.replace(kept)
    return pose


def prepared(mol: Chem.Mol) -> str:
    """The molecule in three dimensions as PDBQT. Raises CannotDock."""
    whole = Chem.AddHs(mol)
    if AllChem.EmbedMolecule(whole, randomSeed=SEED) != 0:
        raise CannotDock("no three-dimensional shape could be found for it")
    if AllChem.MMFFHasAllMoleculeParams(whole):
        AllChem.MMFFOptimizeMolecule(whole)
    try:
        [setup] = MoleculePreparation().prepare(whole)
        text, fine, why = PDBQTWriterLegacy.write_string(setup)
    except Exception as error:
        raise CannotDock(f"it cannot be prepared for docking: {error}") from error
    if not fine:
        raise CannotDock(f"it cannot be prepared for docking: {why.strip()}")
    return str(text)


def pose_mol(pose: Pose) -> Chem.Mol:
    """The pose as a molecule with coordinates."""
    return RDKitMolCreate.from_pdbqt_mol(PDBQTMolecule(pose.pdbqt, skip_typing=True))[0]


def pocket(receptor: str) -> list[tuple[str, str, Any]]:
    """The receptor's atoms: residue, atom type and position."""
    return list(_atoms(_target(receptor).read_text("utf-8")))


def _docked(ligand: str, receptor: str) -> Pose:
    engine = Vina(sf_name="vina", cpu=1, seed=SEED, verbosity=0)
    engine.set_receptor(str(_target(receptor)))
    try:
        engine.set_ligand_from_string(ligand)
        engine.compute_vina_maps(center=_center(receptor), box_size=[BOX] * 3)
        engine.dock(exhaustiveness=EXHAUSTIVENESS, n_poses=1)
        text, energy = engine.poses(n_poses=1), float(engine.energies(n_poses=1)[0][0])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise CannotDock(f"Vina cannot dock it: {error}") from error
    return Pose(energy, contacts(text, receptor), text)


def contacts(pdbqt: str, receptor: str) -> list[Contact]:
    """The residues beside a pose, nearest first."""
    ligand = [(kind, at) for _, kind, at in _atoms(pdbqt) if not kind.startswith("H")]
    found: dict[str, Contact] = {}
    for residue, kind, at in pocket(receptor):
        if kind.startswith("H"):
            continue
        for other, place in ligand:
            distance = float(np.linalg.norm(at - place))
            polar = distance < POLAR and kind[0] in "NO" and other[0] in "NO"
            known = found.get(residue)
            if distance < NEAR and (known is None or (not polar, distance) < _rank(known)):
                found[residue] = Contact(residue, round(distance, 1), polar)
    return sorted(found.values(), key=lambda c: c.distance)


def _rank(contact: Contact) -> tuple[bool, float]:
    return not contact.polar, contact.distance


def _atoms(pdbqt: str) -> Iterator[tuple[str, str, Any]]:
    for line in pdbqt.splitlines():
        if line.startswith(("ATOM", "HETATM")):
            place = np.array([float(line[i : i + 8]) for i in (30, 38, 46)])
            yield f"{line[17:20].strip()}{line[22:26].strip()}", line[77:].strip(), place


@cache
def _folder() -> Path:
    """Where the wheel of dockstring keeps its receptors; the package itself is not imported."""
    spec = importlib.util.find_spec("dockstring")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "resources" / "targets"


def _target(receptor: str) -> Path:
    return _folder() / f"{receptor}_target.pdbqt"


def _center(receptor: str) -> list[float]:
    text = (_folder() / f"{receptor}_conf.txt").read_text("utf-8")
    return [float(value) for value in re.findall(r"center_[xyz] = (\S+)", text)]
