"""What each ingredient of a recipe gives: trainings with one taken away or added, scored on val alone.

    python -m benchmarks.ablation --home HOME --recipe slim64 --seeds 0 1 2 --out FILE.json
        [--only mixup crop] [--change '{"augment.rotate": 5}' …] [--protocol patient]
        [--epochs N] [--at-once N]

HOME is curated (`make curate`); settings come from the environment, as for `make train`. Every variant trains
on the train part of a protocol, behind its gate, and answers its val part; the test part is not opened.
With --change the variants are the recipe with those fields, and such --only as are named besides.
FILE.json keeps each answer: the same command again trains only what it lacks, and goes on within a training
that was interrupted. A result is kept while recipe, weights, degradations, seed and data are the same; where
the code changed meanwhile, the table says so. Prints Markdown: macro-F1 on val, mean and spread over seeds,
and the mean paired difference from the recipe as it is, with the 95 % interval of a group bootstrap (all
seeds on the same draws of val groups); a dash where one seed has no spread, or too few groups no interval.
Where a recipe keeps its best epoch, val has chosen that epoch: `stopping.keep: last` is fair.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.book import Book, identify, tabulate
from benchmarks.homes import choose_recipe, open_home
from benchmarks.ingredients import INGREDIENTS, change_fields, list_variants
from pipeline.errors import FalxError, SettingsError
from pipeline.recipe import Recipe
from pipeline.training.spec import TrainingSpec
from resources.launchers import KEEP_MEMORY
from resources.lifeline import die_with_parent

DIGITS = 7


def answer(specs: Sequence[TrainingSpec]) -> list[dict[str, Any]]:
    """Train to the end, or from the last finished epoch on, and answer val.

    Args:
        specs: they train alike: the first is trained, and asked in the way of each.

    Returns:
        Of each seconds, epochs, and probabilities [n][4] in the order of `load_parts`.
    """
    import torch

    from pipeline.training.batches import load_parts
    from pipeline.training.inference import load_model, predict
    from pipeline.training.loop import train
    from pipeline.training.spec import SilentReporter

    first = specs[0]
    torch.set_num_threads(first.threads)
    result = train(first, SilentReporter())
    _, val = load_parts(first)
    model = load_model(first.work, first.recipe)
    return [
        {
            "seconds": round(result.seconds, 1),
            "epochs": result.epochs,
            "probabilities": np.round(predict(model, val.images, spec.recipe), DIGITS).tolist(),
        }
        for spec in specs
    ]


def gather_alike(wanted: Sequence[tuple[str, TrainingSpec]]) -> list[list[tuple[str, TrainingSpec]]]:
    """The trainings, those together that give the same weights and are only asked in another way.

    Where val has a say in the training, what is asked of val changes the weights, too.
    """
    found: dict[str, list[tuple[str, TrainingSpec]]] = {}
    for variant, spec in wanted:
        recipe = spec.recipe
        heeds = (
            recipe.stopping.keep == "best" or recipe.stopping.patience or recipe.schedule.name == "plateau"
        )
        plain = recipe if heeds else change_fields(recipe, {"model.mirror": False})
        found.setdefault(identify(spec.model_copy(update={"recipe": plain})), []).append((variant, spec))
    return list(found.values())


def train_missing(book: Book, wanted: Sequence[tuple[str, TrainingSpec]], code: str, at_once: int) -> int:
    """Train what the book lacks, so many at once, each in a process that dies with this one.

    A work folder goes once its answers are kept.

    Returns:
        How many trainings failed; each is said, and the others go on.
    """
    lacking = [(variant, spec) for variant, spec in wanted if book.lacks(variant, spec)]
    missing = gather_alike(lacking)
    begun, failed = time.monotonic(), 0
    say(f"{len(wanted) - len(lacking)} of {len(wanted)} answers are known, {len(missing)} trainings to do")
    with ProcessPoolExecutor(
        at_once, get_context("spawn"), initializer=die_with_parent, max_tasks_per_child=1
    ) as pool:
        futures = {pool.submit(answer, [spec for _, spec in alike]): alike for alike in missing}
        for done, future in enumerate(as_completed(futures), start=1):
            alike = futures[future]
            names, spec = " and ".join(variant for variant, _ in alike), alike[0][1]
            try:
                book.add_all(alike, code, future.result())
            except FalxError as error:
                say(f"{names}, seed {spec.seed}: {type(error).__name__}: {error}")
                failed += 1
                continue
            shutil.rmtree(spec.work)
            left = (time.monotonic() - begun) / done * (len(missing) - done) / 60
            say(f"{names}, seed {spec.seed}: {len(missing) - done} to do, about {left:.0f} minutes")
    return failed


def describe(book: Book, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The table as Markdown, and what to know of it."""
    groups = len({group for *_, group in book.images})
    yield f"Macro-F1 on val under `{book.protocol}`, {len(book.images)} images in {groups} groups."
    yield ""
    yield "| variant | seeds | mean | spread | difference | 95 % interval |"
    yield "|---|--:|--:|--:|--:|--:|"
    for row in rows:
        figures = f"{row['mean']:.3f} | {show(row['spread'], '.3f')}"
        change = "| | |"
        if "difference" in row:
            change = f"| {row['difference']:+.3f} | [{show(row['low'], '+.3f')}, {show(row['high'], '+.3f')}]"
            change += f" ({row['paired']} paired) |" if row["paired"] < row["seeds"] else " |"
        yield f"| {row['variant']} | {row['seeds']} | {figures} {change}"
    codes = {result["code"] for result in book.results.values()}
    if len(codes) > 1:
        yield f"\nThe results come from {len(codes)} versions of the code; another --out trains all with one."


def show(value: float, form: str) -> str:
    """A figure, or a dash where there is none."""
    return "–" if np.isnan(value) else format(value, form)


def specify(
    options: argparse.Namespace,
) -> tuple[list[tuple[str, TrainingSpec]], list[list[str]], str]:
    """The trainings, base and seed first; the val images; and the digest of the code.

    Raises:
        SettingsError: the home is not curated, or there is no such recipe, protocol, ingredient or field.
        GateError: the split leaks.
    """
    home = options.home.resolve()
    lake, raw, trainer = open_home(home)
    from assets.gate import pass_gate
    from assets.trainings import CODE, specify_training

    recipe = choose_recipe(raw, options.recipe, options.protocol)
    variants = choose_variants(recipe, options.epochs, options.only, options.change)
    pass_gate(lake, options.protocol)
    wanted = []
    for seed in options.seeds:
        for name, changed in variants.items():
            spec = specify_training(changed, options.protocol, seed, lake, raw, trainer)
            work = home / "ablation" / options.recipe / spec.model_id
            wanted.append((name, spec.model_copy(update={"work": str(work)})))
    return wanted, list_val(wanted[0][1], lake.read("groups")), CODE


def choose_variants(
    recipe: Recipe, epochs: int | None, only: Sequence[str], changes: Sequence[str] = ()
) -> dict[str, Recipe]:
    """The base; variants of some ingredients, all where nothing is named; and changes, JSON, by their text.

    Raises:
        SettingsError: there is no such ingredient, or a change is no JSON object of fields that fit.
    """
    unknown = sorted(set(only) - {one.name for one in INGREDIENTS})
    if unknown:
        raise SettingsError(f"--only {unknown}: there are {', '.join(one.name for one in INGREDIENTS)}")
    if epochs:
        recipe = change_fields(recipe, {"stopping.epochs": epochs})
    chosen = [one for one in INGREDIENTS if one.name in only or not (only or changes)]
    found, impossible = list_variants(recipe, chosen)
    for name, reason in impossible.items():
        say(f"left out: {name}: {reason}")
    return found | {text: _read_change(recipe, text) for text in changes}


def _read_change(recipe: Recipe, text: str) -> Recipe:
    """The recipe with the fields of a JSON object."""
    try:
        return change_fields(recipe, dict(json.loads(text)))
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(
            f"--change {text}: {error}; give a JSON object of dotted fields of a recipe, as "
            '{"augment.rotate": 5}'
        ) from error


def list_val(spec: TrainingSpec, groups: pd.DataFrame) -> list[list[str]]:
    """image_id, label and group of the val images, in the order of `load_parts`; no pixel is read."""
    from pipeline.training.batches import select_rows

    rows = select_rows(spec)
    homes = groups.set_index("image_id")["group_id"]
    val = rows[rows["split"] == "val"]
    return [[one, label, homes[one]] for one, label in zip(val["image_id"], val["label"], strict=True)]


def say(text: str) -> None:
    """Progress goes to stderr, so that stdout is the table alone."""
    sys.stderr.write(text + "\n")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="a curated home, as FALX_HOME")
    parser.add_argument("--recipe", default="slim64", help="a name in the catalog")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="JSON file of the results, kept and added to")
    parser.add_argument("--only", nargs="+", default=[], metavar="INGREDIENT", help="these alone")
    parser.add_argument(
        "--change", action="append", default=[], metavar="JSON", help="fields of one more variant"
    )
    parser.add_argument("--protocol", default="patient", help="whose train and val parts")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's, for a try")
    parser.add_argument("--at-once", type=int, default=1, help="trainings at once, each with its own threads")
    return parser.parse_args()


def main() -> int:
    """Train what is missing and print the table."""
    options = parse_options()
    os.environ |= KEEP_MEMORY | os.environ  # for the processes that train
    try:
        wanted, images, code = specify(options)
        book = Book.open(options.out, options.recipe, options.protocol, images)
        failed = train_missing(book, wanted, code, options.at_once)
    except FalxError as error:
        say(f"{type(error).__name__}: {error}")
        return 2
    shown = book.choose(wanted)
    print("\n".join(describe(shown, tabulate(shown))))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
