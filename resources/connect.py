"""From settings to resources: the one place that knows which setting goes where."""

from collections.abc import Mapping

import dagster as dg

from resources.alerts import Alerts
from resources.kaggle import KaggleSource
from resources.lake import Lake
from resources.raw import RawStore
from resources.settings import Settings
from resources.tracking import Tracking
from resources.trainer import Trainer


def connect_resources(settings: Settings) -> Mapping[str, dg.ConfigurableResource]:  # type: ignore[type-arg]
    """The resources of the graph, by the names that assets ask for."""
    home = str(settings.home)
    workers = settings.workers or settings.cores
    return {
        "alerts": Alerts(home=home, url=settings.alert_url),
        "lake": Lake(home=home),
        "raw_store": RawStore(
            profile=settings.profile,
            home=home,
            datasets=str(settings.datasets or ""),
            catalog_root=str(settings.catalog),
            phantom_scale=settings.phantom_scale,
            seed=settings.seed,
            workers=workers,
            decisions=str(settings.decisions),
            keep_contradicted=settings.keep_contradicted,
            kaggle=KaggleSource(),  # type: ignore[call-arg]
        ),
        "tracking": Tracking(home=home, uri=settings.mlflow_uri, ui=settings.mlflow_ui),  # type: ignore[call-arg]
        "trainer": Trainer(
            launcher=settings.launcher,
            processes=settings.processes,
            device=settings.device,
            threads=settings.threads_each,
            workers=workers,
            seeds=settings.seeds,
            weights=str(settings.weights or ""),
            pod_image=settings.pod_image,
            pod_namespace=settings.pod_namespace,
            pod_volumes=settings.pod_volumes,
            pod_gpus=settings.pod_gpus,
        ),
    }
