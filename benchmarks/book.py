"""The results of an ablation: kept in a file, and measured against the recipe as it is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ingredients import BASE
from pipeline.atomic import write_text
from pipeline.digests import digest_json
from pipeline.errors import SettingsError
from pipeline.evaluation.bootstrap import find_interval
from pipeline.evaluation.comparison import DRAWS
from pipeline.evaluation.predictions import CLEAN, PROBABILITIES
from pipeline.evaluation.standings import measure_standings
from pipeline.training.spec import PROSE, TrainingSpec

Result = dict[str, Any]


@dataclass
class Book:
    """The file of the results.

    Attributes:
        path: where it lies.
        protocol: whose train and val parts they are of.
        images: image_id, label and group of each val image, in the order of the probabilities.
        results: (variant, seed) -> identity, code, seconds and probabilities of one training.
    """

    path: Path
    protocol: str
    images: list[list[str]]
    results: dict[tuple[str, int], Result]

    @classmethod
    def open(cls, path: Path, recipe: str, protocol: str, images: list[list[str]]) -> "Book":
        """The results in a file, or none where there is no file yet.

        Raises:
            SettingsError: the file holds the results of another recipe or protocol, or on other val images.
        """
        if not path.is_file():
            return cls(path, protocol, images, {})
        stored = json.loads(path.read_text(encoding="utf-8"))
        held = stored["recipe"], stored["protocol"], stored["images"]
        if held != (recipe, protocol, images):
            raise SettingsError(
                f"{path} holds results of recipe {held[0]!r} under {held[1]!r} on {len(held[2])} val images, "
                f"not of {recipe!r} under {protocol!r} on these {len(images)}; give another --out"
            )
        results = {(row["variant"], row["seed"]): row for row in stored["results"]}
        return cls(path, protocol, images, results)

    def lacks(self, variant: str, spec: TrainingSpec) -> bool:
        """Whether the training of a variant is still to be done, or was one of other content."""
        known = self.results.get((variant, spec.seed))
        return known is None or known["identity"] != identify(spec)

    def choose(self, wanted: Sequence[tuple[str, TrainingSpec]]) -> "Book":
        """The results of these trainings alone, without those of other content."""
        known = {(variant, spec.seed) for variant, spec in wanted if not self.lacks(variant, spec)}
        return Book(self.path, self.protocol, self.images, {key: self.results[key] for key in sorted(known)})

    def add(self, variant: str, spec: TrainingSpec, code: str, answer: Mapping[str, Any]) -> None:
        """Keep the answer of a training, at once."""
        self.add_all([(variant, spec)], code, [answer])

    def add_all(
        self, asked: Sequence[tuple[str, TrainingSpec]], code: str, answers: Sequence[Mapping[str, Any]]
    ) -> None:
        """Keep all answers of a training, or none of them where a kill comes first."""
        for (variant, spec), answer in zip(asked, answers, strict=True):
            row = {"variant": variant, "seed": spec.seed, "identity": identify(spec), "code": code, **answer}
            self.results[variant, spec.seed] = row
        spec = asked[0][1]
        rows = [self.results[key] for key in sorted(self.results)]
        stored = {"recipe": spec.recipe.name, "protocol": self.protocol, "images": self.images}
        write_text(self.path, json.dumps(stored | {"results": rows}) + "\n")


def identify(spec: TrainingSpec) -> str:
    """What a result stands for: recipe, protocol, seed, data, degradations and weights; not the code.

    Of the recipe what it says otherwise than by default, so that a field that recipes have gained since makes
    no other one of it; of a weights file its content.
    """
    from assets.trainings import identify_recipe

    fields = {
        "recipe": spec.recipe.model_dump(mode="json", exclude=set(PROSE), exclude_defaults=True),
        "weights": identify_recipe(spec.recipe)["model"]["weights"],
        "degradations": {name: entry.model_dump(mode="json") for name, entry in spec.degradations.items()},
        **spec.model_dump(mode="json", include={"data_digest", "protocol", "seed"}),
    }
    return digest_json(fields)


def tabulate(book: Book, *, draws: int = DRAWS) -> list[dict[str, Any]]:
    """A row a variant, the base first, then by falling difference.

    Paired are the seeds that both have; a variant without a seed of the base has no difference.
    """
    seeds: dict[str, set[int]] = {}
    for variant, seed in book.results:
        seeds.setdefault(variant, set()).add(seed)
    rows = []
    for variant, own in seeds.items():
        shared = sorted(own & seeds.get(BASE, set()))
        standing = measure(book, variant, sorted(own), draws)
        row = {"variant": variant, "seeds": len(own), "mean": standing.macro_f1}
        row |= {"spread": standing.macro_f1_spread, "paired": len(shared)}
        if variant != BASE and shared:
            one, base = (measure(book, name, shared, draws) for name in (variant, BASE))
            low, high = find_interval(one.draws - base.draws, one.groups)
            row |= {"difference": one.macro_f1 - base.macro_f1, "low": low, "high": high}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["variant"] != BASE, -row.get("difference", -9), row["variant"]))


def measure(book: Book, variant: str, seeds: Sequence[int], draws: int) -> Any:
    """The standing of a variant over some seeds, on the same draws of groups as every other."""
    return measure_standings(
        pd.concat([frame_answers(book, variant, seed) for seed in seeds]), draws=draws, seed=0
    )[0]


def frame_answers(book: Book, variant: str, seed: int) -> pd.DataFrame:
    """One training's answers as rows of the table `validations`."""
    frame = pd.DataFrame(book.images, columns=["image_id", "label", "group_id"])
    result = book.results[variant, seed]
    names: dict[str, Any] = {
        "recipe": variant,
        "protocol": book.protocol,
        "seed": seed,
        "variant": CLEAN,
        "collection": "val",
    }
    frame[PROBABILITIES] = np.array(result["probabilities"])
    # Under `published` an image comes once for each of its files.
    return frame.assign(path=frame.index.astype(str), model_id=f"{variant} {seed}", **names)
