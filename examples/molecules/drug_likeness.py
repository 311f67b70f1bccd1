"""What speaks for and against a molecule as a drug: QED with its parts, alerts, Lipinski's rules,
how hard it is to make."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rdkit import Chem, RDConfig
from rdkit.Chem import QED
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

sys.path.append(str(Path(RDConfig.RDContribDir) / "SA_Score"))
import sascorer

NAMES = {
    "MW": "molecular weight",
    "ALOGP": "logP",
    "HBA": "hydrogen-bond acceptors",
    "HBD": "hydrogen-bond donors",
    "PSA": "polar surface area",
    "ROTB": "rotatable bonds",
    "AROM": "aromatic rings",
    "ALERTS": "structural alerts",
}
HARD = 4.5
"""Synthetic accessibility runs from 1 (easy) to 10; above this it is remarked on."""


@dataclass(frozen=True)
class DrugLikeness:
    """`qed` from 0 to 1; `parts` are QED's properties with their desirability (0 to 1), the worst
    first; `access` is the synthetic accessibility score, 1 easy to 10 hard."""

    qed: float
    parts: list[tuple[str, float, float]]
    alerts: list[str]
    broken_rules: list[str]
    access: float


def drug_likeness(mol: Chem.Mol) -> DrugLikeness:
    """All figures of a molecule."""
    values = QED.properties(mol)._asdict()
    parts = [
        (NAMES[key], float(value), float(QED.ads(value, QED.adsParameters[key])))
        for key, value in values.items()
    ]
    return DrugLikeness(
        qed=float(QED.qed(mol)),
        parts=sorted(parts, key=lambda part: part[2]),
        alerts=_alerts(mol),
        broken_rules=_broken_rules(values),
        access=float(sascorer.calculateScore(mol)),
    )


def _alerts(mol: Chem.Mol) -> list[str]:
    params = FilterCatalogParams()
    params.AddCatalog(FilterCatalogParams.FilterCatalogs.BRENK)
    params.AddCatalog(FilterCatalogParams.FilterCatalogs.PAINS)
    found = FilterCatalog(params).GetMatches(mol)
    return sorted({entry.GetDescription() for entry in found})


def _broken_rules(values: dict[str, float]) -> list[str]:
    """Lipinski's rule of five."""
    rules = (
        ("MW", 500, "molecular weight over 500"),
        ("ALOGP", 5, "logP over 5"),
        ("HBD", 5, "more than 5 hydrogen-bond donors"),
        ("HBA", 10, "more than 10 hydrogen-bond acceptors"),
    )
    return [said for key, most, said in rules if values[key] > most]
