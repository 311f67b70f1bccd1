"""What speaks for and against a molecule as a drug: QED with its parts, alerts, Lipinski's rules,
how hard it is to make."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
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
COUNTS = ("HBA", "HBD", "ROTB", "AROM", "ALERTS")
RANGES = {"MW": (100.0, 800.0, 1.0), "ALOGP": (-5.0, 10.0, 0.1), "PSA": (0.0, 250.0, 1.0)}
"""From where to where, and in which steps, the best value of a property is looked for."""
HARD = 4.5
"""Synthetic accessibility runs from 1 (easy) to 10; above this it is remarked on."""


@dataclass(frozen=True)
class Part:
    """A property that QED is made of: its value, how good that is beside the `best` value there is
    (0 to 1)."""

    name: str
    value: float
    good: float
    best: float


@dataclass(frozen=True)
class DrugLikeness:
    """`qed` from 0 to 1; `parts` are QED's properties, the worst first; `access` is the synthetic
    accessibility score, 1 easy to 10 hard."""

    qed: float
    parts: list[Part]
    alerts: list[str]
    broken_rules: list[str]
    access: float


def drug_likeness(mol: Chem.Mol) -> DrugLikeness:
    """All figures of a molecule."""
    values = QED.properties(mol)._asdict()
    return DrugLikeness(
        qed=float(QED.qed(mol)),
        parts=sorted((_part(*one) for one in values.items()), key=lambda part: part.good),
        alerts=_alerts(mol),
        broken_rules=_broken_rules(values),
        access=float(sascorer.calculateScore(mol)),
    )


def _part(key: str, value: float) -> Part:
    best = _best(key)
    return Part(NAMES[key], float(value), _desirable(key, value) / _desirable(key, best), best)


def _desirable(key: str, value: float) -> float:
    return float(QED.ads(value, QED.adsParameters[key]))


@cache
def _best(key: str) -> float:
    """The value of a property that QED holds to be best; counts are whole."""
    if key in COUNTS:
        return max(range(21), key=lambda n: _desirable(key, n))
    low, high, step = RANGES[key]
    values = (low + n * step for n in range(round((high - low) / step)))
    return max(values, key=lambda value: _desirable(key, value))


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
