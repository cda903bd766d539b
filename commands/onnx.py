"""`make onnx`: a trained model as one ONNX file with its card, for machines without torch."""

from pathlib import Path

from assets.trainings import specify_all
from commands.work import check_protocol, find_recipe
from pipeline.errors import SettingsError
from pipeline.protocols import protocol_path, split_table
from resources.console import say
from resources.lake import Lake
from resources.raw import RawStore
from resources.settings import claim_home, load_settings
from resources.trainer import Trainer


def run_onnx(recipe: str, protocol: str) -> int:
    """Export the first seed of a recipe under a protocol, on the present data, into the home's `onnx` folder.

    Raises:
        SettingsError: there is no such recipe or protocol, or it has not been trained on the present data.
        ServingError: the packages of the extra `edge` are missing, or the graph answers otherwise than torch.
    """
    from pipeline.serving.onnx import export_onnx

    settings = load_settings()
    claim_home(settings.home, settings.profile)
    package = find_package(recipe, protocol)
    target = Path(settings.home, "onnx", f"{recipe}-{protocol_path(protocol)}.onnx".replace("/", "-"))
    made = export_onnx(package, target)
    say(f"{target}: {made.file_bytes / 1e6:.2f} MB, model {made.card.model_id}, gate: {made.card.gate}")
    say(f"  {made.input}; {made.output}")
    say(f"  at most {made.difference:.1e} from torch; {made.note}")
    say(f"  {made.card.disclaimer}")
    return 0


def find_package(recipe: str, protocol: str) -> Path:
    """Folder of the packaged model of a recipe, protocol and the present data; its first seed.

    Raises:
        SettingsError: there is no such recipe or protocol, or it has not been trained on the present data.
    """
    from pipeline.serving.package import CARD
    from resources.connect import connect_resources

    resources = connect_resources(load_settings())
    lake, store, trainer = (resources[name] for name in ("lake", "raw_store", "trainer"))
    assert isinstance(lake, Lake) and isinstance(store, RawStore) and isinstance(trainer, Trainer)
    known = find_recipe(store.catalog, recipe)
    check_protocol(store.catalog, protocol)
    advice = f"train it first: make train RECIPE={recipe} PROTOCOL={protocol}"
    if not lake.path(split_table(protocol)).is_file():
        raise SettingsError(f"nothing is curated in {store.home} under {protocol}; {advice}")
    spec = specify_all(known, protocol, lake, store, trainer)[0]
    if not Path(spec.work, "package", CARD).is_file():
        raise SettingsError(f"{recipe} has not been trained under {protocol} on the present data; {advice}")
    return Path(spec.work, "package")
