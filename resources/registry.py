"""Registered models: one name a recipe and protocol, one version a training, each readable without its run.

A name never mixes protocols: `models:/falx-cnn3-patient/latest` cannot be a model that was chosen on leaks.
"""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import TrackingError
from resources.mlflow_client import Server, explained, muted

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from pipeline.serving.card import ModelCard

MODEL_ID = "falx.model_id"
NOTE = "mlflow.note.content"  # what the pages of runs and logged models show as description
HEADLINES = ("accuracy", "macro_f1", "miss_rate")  # test figures worth a place on a version's page
PIPELINE = Path(__file__).resolve().parent.parent / "pipeline"
CHAMPION = "champion"  # the alias of the version in use
TAG_CHARACTERS = 5000  # of a tag's text, far below what MLflow refuses
RELEASED = "falx"  # the registered model whose versions are the released ones

PROTOCOL_NOTES = {
    "published": "tested on the collections' own test folders: the claim as published, leaks included",
    "stratified": "tested on MD5-distinct images, split at random: patients are shared with training",
    "patient": "tested on patients and pictures that training never saw",
}


class Registry(Server):
    """The registered models of one server."""

    @explained
    def register(
        self,
        run_id: str,
        package: Path,
        card: "ModelCard",
        *,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Register the packaged model of a run; the version, which a second call finds and gives again.

        Args:
            run_id: the run that trained it.
            package: folder written by `pipeline.serving.package.write_package`.
            card: the card in that folder.
            tags: beside those of the card.

        Raises:
            ServingError: the package breaks its contract.
            TrackingError: the server fails; what was half made is removed by the next call.
        """
        name = registered_name(card.recipe, card.protocol)
        with self.alone("registry"):
            if found := self.find_version(name, card.model_id):
                return found
            logged = self._find_logged_model(card.model_id) or self._log_model(run_id, package, card)
            self._ensure_name(name, describe_name(card), {"recipe": card.recipe, "protocol": card.protocol})
            version = self.client.create_model_version(
                name,
                f"models:/{logged}",
                run_id,
                tags=tag_version(card) | dict(tags or {}),
                description=describe_version(card),
                model_id=logged,
                await_creation_for=0,  # it is READY at once, save on Databricks
            )
        return str(version.version)

    @explained
    def find_version(self, name: str, model_id: str) -> str:
        """The version of `name` that holds the model `model_id`; empty where there is none."""
        condition = f"name = '{name}' and tags.`{MODEL_ID}` = '{model_id}'"
        found = self.client.search_model_versions(condition, order_by=["version_number ASC"])
        return str(found[0].version) if found else ""

    @explained
    def find_run(self, name: str, model_id: str) -> str:
        """Id of the run that trained the model `model_id`, a version of `name`.

        Raises:
            TrackingError: no version of `name` holds it.
        """
        version = self.find_version(name, model_id)
        if not version:
            raise TrackingError(
                f"no version of {name} holds model {model_id[:12]}; MLflow at {self.uri} is not the one that "
                "it was registered at, or the version was deleted: materialise model again"
            )
        return str(self.client.get_model_version(name, version).run_id)

    @explained
    def find_logged_model(self, name: str, version: str) -> str:
        """Id of the logged model behind a version, for `Runs.log_scores`."""
        source = str(self.client.get_model_version(name, version).source)
        return source.removeprefix("models:/")

    @explained
    def update_version(
        self, name: str, version: str, card: "ModelCard", scores: Mapping[str, float], *, note: str = ""
    ) -> None:
        """Add the test figures of a version to its tags and description.

        Args:
            scores: as `Runs.log_scores` returns them.
            note: one line more, such as the optimism.
        """
        for key in HEADLINES:
            if f"test/{key}" in scores:
                value = f"{scores[f'test/{key}']:.4f}"
                self.client.set_model_version_tag(name, version, f"test_{key}", value)
        text = describe_version(card, scores, note)
        self.client.update_model_version(name, version, text)
        self.client.set_logged_model_tags(self.find_logged_model(name, version), {NOTE: text})

    @explained
    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let `models:/<name>@<alias>` mean this version from now on."""
        self.client.set_registered_model_alias(name, alias, version)

    @explained
    def release(
        self, name: str, version: str, *, to: str = RELEASED, tags: Mapping[str, str] | None = None
    ) -> str:
        """Give a version a number among the released ones; that number. The alias stays where it is.

        The model is not copied: the new version points to the same files. A second call changes nothing but
        the tags.
        """
        chosen = self.client.get_model_version(name, version)
        note = "The released models, one version a release; the alias champion is the one in use."
        self._ensure_name(to, note, {})
        released = self.find_version(to, chosen.tags[MODEL_ID]) or self._release(chosen, to)
        self.tag(to, released, tags or {})
        return released

    @explained
    def tag(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version, or replace them; MLflow keeps the first 5,000 characters of each here."""
        for key, text in sorted(tags.items()):
            self.client.set_model_version_tag(name, version, key, text[:TAG_CHARACTERS])

    @explained
    def read_alias(self, name: str = RELEASED, alias: str = CHAMPION) -> str:
        """The version that an alias means; empty where there is none."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return ""
            raise

    @explained
    def fetch_package(self, name: str, version: str, folder: Path) -> Path:
        """Bring the package of a registered version into `folder`; where its files lie then."""
        import mlflow

        # By its place: MLflow looks `models:/m-…` up on whatever server is set for the process.
        place = self.client.get_logged_model(self.find_logged_model(name, version)).artifact_location
        folder.mkdir(parents=True, exist_ok=True)
        with muted():
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=place, dst_path=str(folder), tracking_uri=self.uri
            )
        return Path(path) / "artifacts"

    def _release(self, chosen: "ModelVersion", to: str) -> str:
        source = str(chosen.source)
        tags = dict(chosen.tags) | {"released_from": f"{chosen.name} version {chosen.version}"}
        made = self.client.create_model_version(
            to,
            source,
            chosen.run_id,
            tags=tags,
            description=chosen.description,
            model_id=source.removeprefix("models:/"),
            await_creation_for=0,
        )
        return str(made.version)

    def _find_logged_model(self, model_id: str) -> str:
        """Id of the whole logged model of an earlier call; broken ones are removed on the way."""
        condition = f"tags.`{MODEL_ID}` = '{model_id}'"
        ready = ""
        for model in self.client.search_logged_models([self.experiment_id], filter_string=condition):
            if str(model.status) == "READY" and not ready:
                ready = str(model.model_id)
            elif str(model.status) != "READY":
                self.client.delete_logged_model(model.model_id)
        return ready

    def _log_model(self, run_id: str, package: Path, card: "ModelCard") -> str:
        from mlflow.entities import LoggedModelOutput

        # A name may hold no dot, colon or slash.
        model = self.client.create_logged_model(
            self.experiment_id,
            f"{card.recipe}-{card.protocol}-s{card.seed}".replace(":", "-"),
            run_id,
            tags=tag_version(card) | {NOTE: describe_version(card)},
            params={key: str(value) for key, value in self.client.get_run(run_id).data.params.items()},
            model_type="image classifier",
        )
        try:
            with tempfile.TemporaryDirectory(prefix="falx-") as folder:
                save_model(Path(folder, "model"), package, card, model.model_id, run_id)
                self.client.log_model_artifacts(model.model_id, str(Path(folder, "model")))
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            self.client.finalize_logged_model(model.model_id, "READY")
        except BaseException:
            with contextlib.suppress(Exception):  # the next call finds it PENDING and removes it
                self.client.delete_logged_model(model.model_id)
            raise
        return str(model.model_id)

    def _ensure_name(self, name: str, description: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name, dict(tags), description)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            self.client.update_registered_model(name, description)


def save_model(path: Path, package: Path, card: "ModelCard", model_id: str, run_id: str) -> None:
    """Write the folder that `mlflow models serve` loads: the package, its code beside it, its signature.

    The package answers the example first: what cannot answer is not registered.

    Raises:
        ServingError: the package breaks its contract, or refuses the example.
    """
    from pipeline.serving.package import CARD, RECIPE, REFERENCE, WEIGHTS
    from pipeline.serving.predictor import check_package

    example = check_package(package)
    files = {"weights": WEIGHTS, "card": CARD, "recipe": RECIPE}
    files |= {"reference": REFERENCE} if card.distance is not None else {}
    with muted():
        import mlflow.pyfunc
        import pandas as pd
        from mlflow.models import Model

        described = Model(artifact_path=None, run_id=run_id, model_uuid=model_id, model_id=model_id)
        mlflow.pyfunc.save_model(
            path,
            mlflow_model=described,
            python_model=str(PIPELINE / "serving" / "model.py"),
            code_paths=[str(PIPELINE)],
            artifacts={name: str(package / file) for name, file in files.items()},
            signature=sign_model(card),
            input_example=pd.DataFrame({"image": [example]}),
            pip_requirements=[f"{name}=={version}" for name, version in sorted(card.versions.items())],
            metadata=tag_version(card),
        )
    _forget_paths(described)
    described.save(path / "MLmodel")


def sign_model(card: "ModelCard") -> Any:
    """The signature: `image`, a file as base64 text, to the columns of `pipeline.serving.answers`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    from pipeline.serving.answers import list_columns

    columns: list[Any] = [
        ColSpec(DataType[kind], name, required=False) for name, kind in list_columns(card).items()
    ]
    return ModelSignature(inputs=Schema([ColSpec(DataType.string, "image")]), outputs=Schema(columns))


def registered_name(recipe: str, protocol: str) -> str:
    """Name of the registered model: `falx-cnn3-patient`; a colon, which MLflow refuses, becomes a dash."""
    return f"falx-{recipe}-{protocol}".replace(":", "-")


def tag_version(card: "ModelCard") -> dict[str, str]:
    """What the version table shows, in this order, and searches: verdict, figures, identity."""
    tags = {"gate": card.gate}
    tags |= {f"val_{name}": f"{value:.4f}" for name, value in sorted(card.val.items()) if name != "loss"}
    tags |= {"recipe": card.recipe, "protocol": card.protocol, "seed": str(card.seed)}
    return tags | {"data_digest": card.data_digest, MODEL_ID: card.model_id}


def describe_name(card: "ModelCard") -> str:
    """One plain line for the list of models, which shows markdown as it is written."""
    note = PROTOCOL_NOTES.get(card.protocol, "tested on a collection that training never saw")
    return f"{card.title or card.recipe}: {note}. {card.disclaimer}"


def describe_version(card: "ModelCard", scores: Mapping[str, float] | None = None, note: str = "") -> str:
    """Markdown for a version's page; the version table shows its first line as it is written."""
    figures = {
        f"test {key}": scores[f"test/{key}"] for key in HEADLINES if scores and f"test/{key}" in scores
    }
    figures |= {f"val {name}": value for name, value in card.val.items() if name != "loss"}
    listed = [f"{name.replace('_', ' ').replace('f1', 'F1')} {value:.4f}" for name, value in figures.items()]
    headline = f"{', '.join(listed)}. " if listed else ""
    lines = [
        f"{headline[:1].upper()}{headline[1:]}Gate: {card.gate}.",
        note,
        f"**{card.title or card.recipe}**: recipe `{card.recipe}`, protocol `{card.protocol}`, "
        f"seed {card.seed}, data `{card.data_digest[:12]}`, model `{card.model_id[:12]}`.",
        f"Input {card.size} × {card.size} pixels, grey; one file as base64 text in the column `image`. "
        f"Classes in order: {', '.join(card.classes)}.",
        f"Use: {card.intended_use}",
        "Limits: " + " ".join(card.limits),
        f"**{card.disclaimer}**",
    ]
    return "\n\n".join(line for line in lines if line)


def _forget_paths(model: Any) -> None:
    # MLflow writes where the files lay on this machine; loading goes by the names within the model.
    flavour = model.flavors["python_function"]
    flavour["model_code_path"] = Path(flavour["model_code_path"]).name
    for artifact in flavour["artifacts"].values():
        artifact["uri"] = artifact["path"]
