"""The patients: a synthetic pelvis, and TG119, the community's own phantom.

Neither is a person. `case(name)` gives CT, structures and the dose-influence matrix of nine photon
beams; it is computed once by pyRadPlan (about a minute) and kept in the cache folder (80 MB).
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from examples.common.cache import cache_folder

SPACING = 5.0
"""Edge of a voxel in mm, of the synthetic pelvis and of the dose grid."""
SHAPE = (32, 52, 76)  # z, y, x
BEAMS = 9
VERSION = 3
"""Goes up when what is computed changes, so that what was kept is not taken."""
WATER, FAT, BONE, AIR = 0, -80, 500, -1000


@dataclass(frozen=True)
class Case:
    """A patient with structures and dose-influence matrix.

    `masks` are boolean and tell of the same grid as `hu`, in z, y, x. The matrix has a row for each
    voxel of `rows` (numbers in the flattened grid) and gives Gy for one unit of fluence of each
    beamlet. Of the body only every eighth voxel has a row, besides one whole slice, `shown`.
    """

    name: str
    hu: Any
    masks: dict[str, Any]
    rows: Any
    matrix: Any
    spacing: tuple[float, float, float]
    shown: int


def case(name: str) -> Case:
    """A patient by name, computed or from the cache. Raises KeyError."""
    build = BUILDERS[name]
    kept = cache_folder("plans") / f"{name}.{VERSION}.pickle"
    if not kept.exists():
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(build(), protocol=5))
        part.replace(kept)
    with kept.open("rb") as file:
        found: Case = pickle.load(file)
    return found


def pelvis_masks() -> tuple[Any, dict[str, Any]]:
    """The synthetic pelvis: Hounsfield units, and its structures by name."""
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    z, y, x = (axis * SPACING for axis in (z, y, x))
    grid = np.meshgrid(z, y, x, indexing="ij")

    def ellipsoid(center: tuple[float, ...], radii: tuple[float, ...]) -> Any:
        parts = zip(grid, center, radii, strict=True)
        return sum(((axis - c) / r) ** 2 for axis, c, r in parts) <= 1

    endless = 1e6
    body = ellipsoid((0, 0, 0), (endless, 115, 175))
    target = ellipsoid((0, 5, 0), (34, 30, 33))
    rectum = ellipsoid((0, 40, 0), (endless, 17, 19)) & (abs(grid[0]) < 60)
    bladder = ellipsoid((40, -12, 0), (32, 32, 38))
    heads = {
        f"{side} femoral head": ellipsoid((0, 0, sign * 95), (26, 26, 26))
        for side, sign in (("left", 1), ("right", -1))
    }
    hu = np.where(body, FAT, AIR)
    hu[ellipsoid((0, 5, 0), (endless, 80, 140))] = WATER
    for head in heads.values():
        hu[head] = BONE
    others = {"rectum": rectum, "bladder": bladder, **heads}
    masks = {"target": target, **{name: mask & ~target for name, mask in others.items()}}
    masks["body"] = body & ~np.logical_or.reduce(list(masks.values()))
    return hu, masks


def _pelvis() -> Case:
    import SimpleITK as sitk
    from pyRadPlan import CT, StructureSet
    from pyRadPlan.cst import validate_voi

    hu, masks = pelvis_masks()
    image = sitk.GetImageFromArray(hu.astype(np.float64))
    image.SetSpacing((SPACING,) * 3)
    image.SetOrigin(tuple(-(n - 1) / 2 * SPACING for n in reversed(SHAPE)))
    ct = CT(cube_hu=image)
    kinds = {"target": "TARGET", "body": "EXTERNAL"}
    whole = dict(masks, body=hu > AIR)
    vois = [
        validate_voi(
            name=name, voi_type=kinds.get(name, "OAR"), mask=mask.astype("uint8"), ct_image=ct
        )
        for name, mask in whole.items()
    ]
    return _case("pelvis", ct, StructureSet(vois=vois, ct_image=ct), hu, masks)


def _tg119() -> Case:
    """Its C-shaped target, the core that the target goes around, and the body."""
    import SimpleITK as sitk
    from pyRadPlan import load_tg119

    ct, cst = load_tg119()
    grid = _resampled(ct.cube_hu)
    hu = sitk.GetArrayFromImage(grid)
    names = {"OuterTarget": "target", "Core": "core", "BODY": "body"}
    masks = {
        names[voi.name]: sitk.GetArrayFromImage(sitk.Resample(voi.mask, grid)) > 0
        for voi in cst.vois
    }
    masks["core"] &= ~masks["target"]
    masks["body"] &= ~(masks["target"] | masks["core"])
    return _case("tg119", ct, cst, hu, masks)


def _resampled(image: Any) -> Any:
    """The image on the dose grid, which begins at its first voxel."""
    import SimpleITK as sitk

    size = [
        int(np.ceil(n * old / SPACING))
        for n, old in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    still, linear = sitk.Transform(), sitk.sitkLinear
    return sitk.Resample(
        image, size, still, linear, image.GetOrigin(), (SPACING,) * 3, image.GetDirection(), AIR
    )


def _case(name: str, ct: Any, cst: Any, hu: Any, masks: dict[str, Any]) -> Case:
    shown = int(np.median(np.nonzero(masks["target"])[0]))
    rows = np.nonzero(_kept(masks, shown).ravel())[0]
    whole = _influence(ct, cst)
    if whole.shape[0] != hu.size:
        raise ValueError(f"the dose grid has {whole.shape[0]} voxels, the image {hu.size}")
    matrix = whole.tocsr()[rows].astype(np.float32)
    matrix.indices, matrix.indptr = matrix.indices.astype("i4"), matrix.indptr.astype("i4")
    return Case(name, hu.astype("i2"), masks, rows, matrix, (SPACING,) * 3, shown)


def _kept(masks: dict[str, Any], shown: int) -> Any:
    """The voxels that get a row."""
    kept = np.logical_or.reduce([mask for name, mask in masks.items() if name != "body"])
    kept[::2, ::2, ::2] |= masks["body"][::2, ::2, ::2]
    kept[shown] |= masks["body"][shown]
    return kept


def _influence(ct: Any, cst: Any) -> Any:
    """The dose-influence matrix of all beams, by pyRadPlan's pencil-beam engine."""
    from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf

    plan = PhotonPlan(machine="Generic", num_of_fractions=1)
    plan.prop_stf = {
        "gantry_angles": np.arange(BEAMS) * 360 / BEAMS,
        "couch_angles": np.zeros(BEAMS),
        "bixel_width": SPACING,
    }
    plan.prop_dose_calc = {"dose_grid": {"resolution": dict.fromkeys("xyz", SPACING)}}
    # Its ray tracer divides by zero where a ray is parallel, and it draws a bar for each beam.
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        return calc_dose_influence(ct, cst, generate_stf(ct, cst, plan), plan).physical_dose.flat[0]


BUILDERS: dict[str, Callable[[], Case]] = {"pelvis": _pelvis, "tg119": _tg119}


def main() -> None:
    """Compute the patients named on the command line, so that no evaluator has to."""
    for name in sys.argv[1:] or ["pelvis"]:
        found = case(name)
        print(f"{name}: {found.matrix.shape[1]} beamlets, {found.matrix.shape[0]} voxels")


if __name__ == "__main__":
    from examples.radiotherapy import patient  # so that what is pickled has the module's name

    patient.main()
