"""Generate the phantom collections: plan every file, render every picture once, write, and write the key."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from pipeline.atomic import write_bytes
from pipeline.errors import SettingsError
from pipeline.phantoms.compilation import publish_compilation
from pipeline.phantoms.distortions import IDENTITY
from pipeline.phantoms.foreign import plant_foreign
from pipeline.phantoms.hardening import plant_hard_copies
from pipeline.phantoms.key import KEY_NAME, Key, Planted
from pipeline.phantoms.patients import Slice
from pipeline.phantoms.quirks import Treatment, encode_file, trace_box, trace_treatment
from pipeline.phantoms.reference import NAME as REFERENCE
from pipeline.phantoms.reference import TABLE, draw_reference, publish_reference, write_table
from pipeline.phantoms.republishing import (
    MASOUD,
    SARTAJ,
    draw_healthy,
    draw_strangers,
    plant_quirks,
    publish_edition,
)
from pipeline.phantoms.scanner import Box, expose_slice
from pipeline.phantoms.shelves import Plan, Shelf

CHUNK = 8

Work = tuple[Slice, list[Plan]]
Written = dict[tuple[str, str], tuple[str, int, Box | None]]


def generate(root: Path, *, seed: int = 0, scale: float = 1.0, workers: int = 1) -> Key:
    """Write all phantom collections below `root`, one folder each, and `root/key.json` last.

    About 1,500 files at scale 1; a small scale keeps every kind of quirk and every class. The bytes are a
    function of `seed` and `scale` alone; `workers` processes render the pictures.

    Raises:
        SettingsError: `scale` or `workers` is out of range, or `root` holds files already.
    """
    if not 0 < scale <= 20:
        raise SettingsError(f"phantoms: scale is {scale}; allowed is above 0, up to 20")
    if workers < 1:
        raise SettingsError(f"phantoms: workers is {workers}; at least 1 process is needed")
    if root.exists() and any(root.iterdir()):
        raise SettingsError(f"phantoms: {root} is not empty; name a new folder, or remove this one first")
    plans = plan_files(seed=seed, scale=scale)
    written = _write_litter(root, plans) | _write_pictures(root, plans, workers)
    plans.append(_write_table(root, plans, written))
    key = Key(seed=seed, scale=scale, files=tuple(_tell(plan, written) for plan in sorted(plans, key=_place)))
    write_bytes(root / KEY_NAME, key.model_dump_json(indent=1).encode() + b"\n")
    return key


def plan_files(*, seed: int, scale: float) -> list[Plan]:
    """Every file but `slices.csv`, planned and not yet rendered; a function of its arguments."""
    shelf = Shelf(seed)
    reference = draw_reference(shelf, scale)
    healthy = draw_healthy(shelf, scale)
    publish_reference(shelf, reference)
    for edition in (MASOUD, SARTAJ):
        strangers = draw_strangers(shelf, edition.name, scale)
        publish_edition(shelf, edition, scale, reference, strangers, healthy)
        plant_quirks(shelf, edition, scale)
        plant_foreign(shelf, edition)
    publish_compilation(shelf, scale, MASOUD.name, reference)
    plant_hard_copies(shelf, scale)
    return shelf.plans


def _place(plan: Plan) -> tuple[str, str]:
    return plan.collection, plan.path


def _write_litter(root: Path, plans: list[Plan]) -> Written:
    return {_place(plan): _write(root, plan, plan.litter, None) for plan in plans if plan.shown is None}


def _write_pictures(root: Path, plans: list[Plan], workers: int) -> Written:
    """Render each picture once, wherever it is shown; which process does it changes nothing."""
    gathered: dict[str, Work] = {}
    for plan in plans:
        if plan.shown is not None:
            gathered.setdefault(plan.shown.picture, (plan.shown, []))[1].append(plan)
    works = list(gathered.values())
    chunks = [(root, works[start : start + CHUNK]) for start in range(0, len(works), CHUNK)]
    written: Written = {}
    for part in _map_chunks(chunks, workers):
        written |= part
    return written


def _map_chunks(chunks: list[tuple[Path, list[Work]]], workers: int) -> Iterator[Written]:
    if workers == 1:
        yield from map(_write_chunk, chunks)
        return
    # Spawned, since a forked child of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_chunk, chunks)


def _write_chunk(chunk: tuple[Path, list[Work]]) -> Written:
    root, works = chunk
    written: Written = {}
    for shown, plans in works:
        exposure = expose_slice(shown.head, shown.tumour, shown.scan, shown.view, shown.seed)
        encoded: dict[Treatment, bytes] = {}
        for plan in plans:
            if plan.treatment not in encoded:
                encoded[plan.treatment] = encode_file(exposure, plan.treatment)
            box = trace_box(exposure, plan.treatment)
            written[_place(plan)] = _write(root, plan, encoded[plan.treatment], box)
    return written


def _write(root: Path, plan: Plan, data: bytes, box: Box | None) -> tuple[str, int, Box | None]:
    path = root / plan.collection / plan.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data), box


def _write_table(root: Path, plans: list[Plan], written: Written) -> Plan:
    rows = [(plan, written[_place(plan)][2]) for plan in plans if plan.collection == REFERENCE]
    table = Plan(
        REFERENCE, TABLE, None, Treatment(), how=("litter",), quarantine="sidecar", litter=write_table(rows)
    )
    written[_place(table)] = _write(root, table, table.litter, None)
    return table


def _tell(plan: Plan, written: Written) -> Planted:
    md5, size, box = written[_place(plan)]
    shown = plan.shown
    return Planted(
        collection=plan.collection,
        path=plan.path,
        md5=md5,
        bytes=size,
        picture=shown.picture if shown else f"foreign:{md5}" if plan.foreign else None,
        patient=shown.patient if shown else None,
        pid=plan.pid,
        label=plan.label,
        published_label=plan.published_label,
        published_split=plan.split,
        mirrored=plan.treatment.mirror,
        turned=plan.treatment.distortion.turn,
        transform=trace_treatment(plan.treatment) if shown else IDENTITY,
        how=plan.how,
        box=box,
        quarantine=plan.quarantine,
        contradicts=plan.contradicts,
        foreign=plan.foreign,
    )
