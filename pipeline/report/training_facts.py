"""Facts of the training and of the packaged model's contract, read from what training left."""

from pipeline.report.facts import Tally
from pipeline.report.sources import ModelSources


def add_training(tally: Tally, sources: ModelSources) -> None:
    """What came of the training, and its curves."""
    result, file = sources.result, "result.json"
    for key, value, how in (
        ("epochs", result.epochs, "epochs trained"),
        ("best_epoch", result.best_epoch, "epoch whose weights are the model"),
        ("parameters", result.parameters, "numbers that the model holds"),
        ("trainable", result.trainable_parameters, "of these not frozen in the last stage"),
        ("n_train", result.n_train, "training images"),
        ("n_val", result.n_val, "val images"),
    ):
        tally.count(f"training/{key}", value, file, how)
    tally.text("training/monitor", result.monitor, file, "figure that chose the epoch")
    tally.number("training/monitor_value", result.monitor_value, file, "its value at that epoch")
    tally.text("training/device", f"{result.device}, {result.precision}", file, "device and arithmetic")
    history = sources.history
    epochs = [float(row["epoch"]) for row in history]
    for name in ("train_loss", "val_loss", "val_macro_f1"):
        tally.curve(f"history/{name}", epochs, [float(row[name]) for row in history])
    highest = max(float(row[name]) for row in history for name in ("train_loss", "val_loss"))
    tally.number("training/highest_loss", highest, "history.jsonl", "highest loss of the curve", ".2f")


def add_contract(tally: Tally, sources: ModelSources) -> None:
    """What the packaged model takes and gives, and what it was made with."""
    card, file = sources.card, "package/card.json"
    tally.count("contract/size", card.size, file, "side of the square input, pixels")
    tally.count("contract/channels", card.channels, file, "channels of the network's input")
    tally.text("contract/normalise", card.normalise, file, "scale of the input")
    tally.order("classes", card.classes)
    if card.temperature is not None:
        tally.number("contract/temperature", card.temperature, file, "what logits are divided by")
    if card.conformal is not None:
        tally.number("contract/least", card.conformal.threshold, file, "least probability in a set")
        tally.share("contract/coverage", card.conformal.coverage, 1.0, file, "coverage that sets promise")
    if card.distance is not None:
        tally.number("contract/distance", card.distance.threshold, file, "farther images are refused")
        tally.count("contract/reference", card.distance.train_images, file, "training images compared to")
    for key in ("model_id", "data_digest", "weights_digest", "recipe_digest"):
        tally.text(f"contract/{key}", getattr(card, key) or "–", file, key.replace("_", " "))
    tally.order("packages", sorted(card.versions))
    for name, version in sorted(card.versions.items()):
        tally.text(f"version/{name}", version, file, "version that trained and packaged the model")
    tally.text("contract/intended_use", card.intended_use, file, "what it is for")
    tally.text("contract/disclaimer", card.disclaimer, file, "what it is not")
    tally.order("limits", [f"contract/limit/{place}" for place in range(len(card.limits))])
    for key, limit in zip(tally.lists["limits"], card.limits, strict=True):
        tally.text(key, limit, file, "a limit")
