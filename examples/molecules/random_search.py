"""The baseline: molecules put together at random from pieces of known drugs (BRICS)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from rdkit import Chem, RDLogger
from rdkit.Chem import BRICS, Descriptors

LIBRARY = (
    "CC(=O)Nc1ccc(O)cc1",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "CN1CCCC1c1cccnc1",
    "COc1cc2c(cc1OC)C(=O)C(C2)CC1CCN(Cc2ccccc2)CC1",
    "CN(C)CCOC(c1ccccc1)c1ccccc1",
    "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "CC(C)NCC(O)COc1cccc2ccccc12",
    "O=C(O)Cc1ccccc1Nc1c(Cl)cccc1Cl",
    "Clc1ccc2c(c1)C(N1CCNCC1)=Nc1ccccc1O2",
    "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "Cc1nccn1CC1CCc2c(c3ccccc3n2C)C1=O",
    "CN1CCN(Cc2ccc(C(=O)Nc3ccc(C)c(Nc4nccc(-c5cccnc5)n4)c3)cc2)CC1",
    "COc1ccc2[nH]c(S(=O)Cc3ncc(C)c(OC)c3C)nc2c1",
    "OC(=O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
    "CC(C)(C)NCC(O)c1cc(Cl)c(N)c(Cl)c1",
    "NC(=O)N1c2ccccc2C=Cc2ccccc21",
)
"""Sixteen drugs whose pieces are recombined."""
LEAST, MOST = 12, 38  # heavy atoms
HEAVIEST = 520.0


def molecules(seed: int) -> Iterator[str]:
    """Endlessly many different molecules of a drug's size, the same ones for a seed."""
    RDLogger.DisableLog("rdApp.*")
    draw = random.Random(seed)
    pieces = sorted({piece for smiles in LIBRARY for piece in _pieces(smiles)})
    seen: set[str] = set()
    while True:
        smiles = _built(draw, draw.sample(pieces, 8))
        if smiles and smiles not in seen:
            seen.add(smiles)
            yield smiles


def _pieces(smiles: str) -> set[str]:
    return set(BRICS.BRICSDecompose(Chem.MolFromSmiles(smiles)))


def _built(draw: random.Random, pieces: list[str]) -> str | None:
    """One of the molecules that these pieces make, None where there is none of the right size."""
    random.seed(draw.random())  # BRICS draws from the module's own generator
    made = BRICS.BRICSBuild([Chem.MolFromSmiles(piece) for piece in pieces], maxDepth=2)
    found = []
    for _, mol in zip(range(40), made, strict=False):
        mol.UpdatePropertyCache()
        Chem.SanitizeMol(mol)
        if LEAST <= mol.GetNumHeavyAtoms() <= MOST and Descriptors.MolWt(mol) <= HEAVIEST:
            found.append(Chem.MolToSmiles(mol))
    return draw.choice(sorted(found)) if found else None
