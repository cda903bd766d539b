"""The model as MLflow loads it: from this very file, without pickle, its code and safetensors beside it."""

from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
import pandas as pd


class ImageClassifier(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined, unused-ignore]  # lazy
    """Column `image` (a file as base64 text) in; label, probabilities, error out, one row an image."""

    def load_context(self, context: Any) -> None:
        """Load and check the package; see `pipeline.serving.predictor.Predictor`."""
        from pipeline.serving.predictor import Predictor

        paths = {name: Path(path) for name, path in context.artifacts.items()}
        self.predictor = Predictor(paths["weights"], paths["card"], paths["recipe"], paths.get("reference"))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Answer each row of `model_input`, a frame with the column `image`."""
        return self.predictor.predict(list(model_input["image"]))


mlflow.models.set_model(ImageClassifier())
