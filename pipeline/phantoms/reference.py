"""The reference collection, which names patients: pictures with a table, and MATLAB files."""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.labels import TUMOURS, Label
from pipeline.phantoms.patients import Slice, draw_slices
from pipeline.phantoms.quirks import Treatment
from pipeline.phantoms.scanner import Box
from pipeline.phantoms.shelves import Plan, Shelf

NAME = "cheng_figshare"
CODES: dict[Label, int] = {"meningioma": 1, "glioma": 2, "pituitary": 3}
TABLE = "slices.csv"
HEADER = "slice,file,label,pid,box_x,box_y,box_w,box_h"
README = """Phantoms in place of figshare 1512427: no patient was ever scanned for these pictures.
label: 1 meningioma, 2 glioma, 3 pituitary. cjdata: image, label, PID, tumorBorder, tumorMask.
"""

FEWEST_PATIENTS = 9
PATIENTS = 27
MATLAB_EVERY = 29


def draw_reference(shelf: Shelf, scale: float) -> dict[Label, list[Slice]]:
    """Slices of the reference's patients by label, at least `FEWEST_PATIENTS` a class."""
    patients = max(FEWEST_PATIENTS, round(PATIENTS * scale))
    most = max(2, round(8 * scale))
    slices: dict[Label, list[Slice]] = {}
    for label in TUMOURS:
        found: list[Slice] = []
        for index in range(patients):
            rng = shelf.rng("reference", label, index)
            pids = _spell_pids(label, index, rng)
            stem = pids[0].rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
            count = min(most, int(rng.integers(2, 7)) + len(pids) - 1)
            count = max(count, len(pids))
            found += draw_slices(f"{NAME}:{stem}", label, seed=shelf.seed, count=count, pids=pids)
        slices[label] = found
    return slices


def _spell_pids(label: Label, index: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Ids as the hospitals gave them: digits, or for most gliomas MR and digits, repeats with a letter.

    The running number keeps two patients from one id; every letter from B on is a later examination.
    """
    if label != "glioma" or index % 4 == 3:
        return (f"{100100 + CODES[label] * 2000 + index * 37 + int(rng.integers(37))}",)
    stem = f"MR{20000 + index * 811 + int(rng.integers(811)):06d}"
    letters = [chr(letter) for letter in ord("B") + np.sort(rng.choice(25, size=2, replace=False))]
    if index % 4 == 1:
        return (stem, stem + letters[0])
    if index % 8 == 6:
        return (stem + letters[0], stem + letters[1])
    if index % 8 == 2:
        return (stem + letters[0],)
    return (stem,)


def publish_reference(shelf: Shelf, slices: Mapping[Label, Sequence[Slice]]) -> None:
    """Plan the reference's files: `images/N.jpg`, here and there `N.mat`; a patient's slices in a row."""
    number = 0
    for label in ("meningioma", "glioma", "pituitary"):
        for index, shown in enumerate(slices[label]):
            number += 1
            matlab = index % MATLAB_EVERY == 1
            tags = (CODES[label], shown.pid or "") if matlab else None
            shelf.add(
                Plan(
                    NAME,
                    f"{number}.mat" if matlab else f"images/{number}.jpg",
                    shown,
                    Treatment(format="MAT", tags=tags) if matlab else Treatment(quality=95),
                    published_label=str(CODES[label]),
                    pid=shown.pid,
                )
            )
    text = README.encode()
    shelf.add(
        Plan(NAME, "README 2024.txt", None, Treatment(), how=("litter",), quarantine="sidecar", litter=text)
    )


def write_table(rows: Sequence[tuple[Plan, Box | None]]) -> bytes:
    """`slices.csv` of the reference's pictures; MATLAB files carry their own record and are left out."""
    lines = [HEADER]
    for plan, box in rows:
        if plan.path.startswith("images/"):
            name = plan.path.removeprefix("images/").removesuffix(".jpg")
            place = ",".join(f"{value:.4f}" for value in box) if box else ",,,"
            lines.append(f"{name},{plan.path},{plan.published_label},{plan.pid},{place}")
    return ("\n".join(lines) + "\n").encode()
