"""The model card in Markdown, under the headings of Hugging Face's model cards where they fit."""

from collections.abc import Iterable, Sequence

from pipeline.labels import LABELS
from pipeline.report.facts import Document
from pipeline.report.words import LIMITS, LOST, explain_protocol
from pipeline.serving.card import DISCLAIMER

FIGURES = {
    "metric/accuracy/all": "accuracy",
    "metric/balanced_accuracy/all": "balanced accuracy",
    "metric/macro_f1/all": "macro-F1",
    "metric/roc_auc/all": "ROC-AUC, mean of the classes",
    "metric/miss_rate/all": "tumours called no_tumor",
    "calibration/ece_before": "calibration error, as the network answers",
    "calibration/ece_after": "calibration error, calibrated",
    "sets/coverage/all": "conformal sets that hold the truth",
    "sets/set_size/all": "labels in a conformal set, mean",
    "part/three_class/macro_f1": "macro-F1 of the three tumours alone",
    "robust/all/mean_accuracy": "accuracy on degraded images, mean",
    "robust/all/worst_accuracy": "accuracy on degraded images, at its worst",
}


def render_model_card(document: Document) -> str:
    """The card of one model; every number in it is printed as in the document."""
    recipe, protocol = document.lists["subject"]
    said = document.printed
    parts = [
        f"# {said('recipe/title')} (`{recipe}`, protocol `{protocol}`)",
        f"**{DISCLAIMER}**",
        f"Macro-F1 {document.figure('claim/macro_f1')} on {said('claim/n')} test images in "
        f"{said('claim/groups')} groups, {said('claim/patients')} known patients among them. "
        f"{said('claim/safety')}. Gate: {said('claim/gate')}.{_say_gate_then(document)}",
        "## Model details\n\n" + _list_details(document),
        f"## Uses\n\n### Direct use\n\n{said('contract/intended_use')}",
        f"### Out-of-scope use\n\n{said('contract/disclaimer')}",
        "## Bias, risks and limitations\n\n" + _bullets([*map(said, document.lists["limits"]), *LIMITS]),
        "## Training details\n\n" + _tell_data(document),
        f"## Evaluation\n\n**Protocol `{protocol}`.** {explain_protocol(protocol)}",
        _table(("figure", "test, 95 % interval"), _list_figures(document)),
        "### The same recipe under other protocols\n\n" + _tabulate_protocols(document),
        "## Contract\n\n" + _tell_contract(document),
        "## Citation and licence\n\n" + _cite(document),
        "Every number is a fact in the JSON beside this card; `make verify` counts them again.",
    ]
    return "\n\n".join(parts) + "\n"


def render_release_card(document: Document) -> str:
    """The card of the release: the champion, its score beside its optimism, and the limits."""
    said, champion = document.printed, next(iter(document.lists["champion"]), None)
    key = next(iter(document.lists["champion_score"]), None)
    parts = [f"# Release: `{champion}`" if champion else "# No model is released", f"**{DISCLAIMER}**"]
    if champion and not key:
        parts.append(f"{LOST.capitalize()}.")
    if key:
        parts.append(
            f"Macro-F1 {document.figure(f'{key}/macro_f1')} on {said(f'{key}/n')} test images in "
            f"{said(f'{key}/groups')} groups of patients and pictures that training never saw."
        )
    why = f"release/{''.join(document.lists['champion'][1:])}/why"
    if why in document.facts:
        parts.append(f"Why this one: {said(why)}.")
    rows = [
        (
            f"`{place}`",
            document.figure(f"board/{place}/macro_f1"),
            document.figure(f"board/{place}/optimism") if f"board/{place}/optimism" in document.facts else "",
        )
        for place in document.lists["places"]
    ]
    parts += ["## Figures\n\n" + _table(("recipe/protocol", "macro-F1", "optimism"), rows)]
    parts += [f"The test part of `patient` was opened: {said('openings/count')}."]
    parts += ["## Limits\n\n" + _bullets(LIMITS)]
    return "\n\n".join(parts) + "\n"


def _say_gate_then(document: Document) -> str:
    key = "claim/gate_then"
    return f" When it was trained: {document.printed(key)}." if key in document.facts else ""


def _list_details(document: Document) -> str:
    said = document.printed
    lines = [said("recipe/description"), f"Seeds trained: {said('claim/seeds')}."]
    lines += [f"Parameters: {said('training/parameters')}, {said('training/trainable')} of them trained."]
    lines += [f"Model `{said('contract/model_id')}`, recipe digest `{said('contract/recipe_digest')}`."]
    return _bullets(lines)


def _tell_data(document: Document) -> str:
    said = document.printed
    lines = [
        f"`{name}`: {said(f'data/{name}/title')}, {said(f'data/{name}/version')}, "
        f"{said(f'data/{name}/files')} files, "
        f"digest `{said(f'data/{name}/digest')}`"
        for name in document.lists["collections"]
    ]
    heads = ("part", *LABELS, "all", "groups", "known patients")
    columns = (*LABELS, "all", "groups", "patients")
    rows = [(part, *(said(f"data/{part}/{one}") for one in columns)) for part in ("train", "val", "test")]
    ended = (
        f"Best of {said('training/epochs')} epochs: {said('training/best_epoch')}, by "
        f"{said('training/monitor')}."
    )
    return f"{_bullets(lines)}\n\n{_table(heads, rows)}\n\n{ended}"


def _list_figures(document: Document) -> list[tuple[str, str]]:
    return [(words, document.figure(key)) for key, words in FIGURES.items() if key in document.facts]


def _tabulate_protocols(document: Document) -> str:
    rows = []
    for protocol in document.lists["protocols"]:
        key = f"board/{protocol}"
        optimism = document.figure(f"{key}/optimism") if f"{key}/optimism" in document.facts else ""
        counts = (document.printed(f"{key}/n"), document.printed(f"{key}/groups"))
        rows.append((f"`{protocol}`", document.figure(f"{key}/macro_f1"), optimism, *counts))
    return _table(("protocol", "macro-F1", "optimism", "test images", "test groups"), rows)


def _tell_contract(document: Document) -> str:
    said = document.printed
    lines = [
        f"Input: {said('contract/size')} × {said('contract/size')} pixels, "
        f"{said('contract/channels')} channels, scale "
        f"{said('contract/normalise')}; one slice at a time.",
        f"Output: probabilities of {', '.join(document.lists['classes'])}, in that order.",
    ]
    if "contract/temperature" in document.facts:
        lines.append(f"Logits are divided by {said('contract/temperature')} before the softmax.")
    if "contract/least" in document.facts:
        lines.append(f"A class is in the set from probability {said('contract/least')}.")
    return _bullets(lines)


def _cite(document: Document) -> str:
    said = document.printed
    return _bullets(
        f"`{name}`: {said(f'data/{name}/citation')} Licence as stated: {said(f'data/{name}/licence')}."
        for name in document.lists["collections"]
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---", *("--:" for _ in heads[1:])], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
