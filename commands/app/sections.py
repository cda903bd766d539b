"""The page, section by section: slices in, answers side by side, pictures seen in training."""

from collections.abc import Mapping, Sequence

import streamlit as st

from commands.app.desk import Desk, Slice, forget_models
from commands.app.drawing import (
    STYLE,
    draw_answer,
    draw_head,
    draw_notes,
    draw_refusal,
    draw_scope,
    draw_table,
)
from commands.app.seen import look_for_copies, show_exposure, show_neighbours
from commands.app.words import show_words
from pipeline.app.exposure import Exposure, Parts
from pipeline.app.heat import METHODS, draw_slice
from pipeline.app.prompt import Case
from pipeline.app.readings import (
    NAMES,
    Reading,
    explain_refusal,
    tabulate_readings,
    tell_disagreement,
    tell_set,
)
from pipeline.app.scores import Score, tell_score
from pipeline.errors import ExplanationError, FalxError, SourceError, TableError
from resources.served import ServedModel

UPLOADS = ["jpg", "jpeg", "png", "dcm", "dicom"]
MOST_FILES = 16
ACROSS = 3  # models in a row
HEATS = {"grad_cam": "Grad-CAM", "saliency": "Saliency"}
PRIVACY = (
    "What you upload stays in this process's memory, is written to no file, and is forgotten when you remove "
    "it or close the page. The page talks to this machine alone, unless you ask a language model above."
)


def show_page() -> None:
    """The whole page; what cannot be done is said in its place."""
    st.set_page_config(page_title="Falx", page_icon="🧠", layout="wide")
    st.html(STYLE + draw_scope())
    st.html(draw_head())
    try:
        desk = Desk.open()
        models = desk.list_models()
    except FalxError as error:
        st.error(f"{type(error).__name__}: {error}")
        return
    if not models:
        _show_nothing(desk)
        return
    left, right = st.columns([1, 1], gap="large")
    with left:
        slices = _choose_slices(desk)
    with right:
        chosen = _choose_models(models)
        method = st.selectbox("Heat map", list(METHODS), format_func=HEATS.__getitem__)
    if slices and chosen:
        _show_results(desk, slices, chosen, method)
    elif slices:
        st.info("Choose at least one model.")
    st.divider()
    st.html(draw_notes([PRIVACY]))


def _show_nothing(desk: Desk) -> None:
    st.info(
        f"No model is registered yet (profile {desk.settings.profile}, state in {desk.settings.home}). Run "
        "`make demo` first: it trains on drawn phantoms and takes five minutes; or `make train RECIPE=… "
        "PROTOCOL=patient` on collections of your own.",
        icon=":material/hourglass_empty:",
    )
    if st.button("Look again"):
        forget_models()
        st.rerun()


def _choose_slices(desk: Desk) -> list[Slice]:
    source = st.segmented_control(
        "A slice", ["An example", "My own files"], default="An example", required=True
    )
    if source == "My own files":
        files = st.file_uploader(
            "JPEG, PNG or DICOM, one slice a file",
            UPLOADS,
            accept_multiple_files=True,
            max_upload_size=32,
        )
        if len(files) > MOST_FILES:
            st.warning(f"{len(files)} files: the first {MOST_FILES} are read. Remove some to see the others.")
        return [Slice(file.name, file.getvalue()) for file in files[:MOST_FILES]]
    return _choose_example(desk)


def _choose_example(desk: Desk) -> list[Slice]:
    examples = desk.list_examples()
    if not examples:
        st.info("There are no examples: nothing is curated here. Upload a slice, or run `make curate`.")
        return []
    shown = st.toggle("Show the true label")
    names = {
        f"Example {place}{f': {NAMES[one.label]}' if shown else ''}": one
        for place, one in enumerate(examples, start=1)
    }
    place = st.selectbox(
        "Test images of `patient`: no model under `patient` was trained on them, or on their patient",
        range(len(names)),
        format_func=list(names).__getitem__,
    )
    if shown:
        st.markdown(f"True label: **{NAMES[examples[place].label]}**")
    try:
        return [desk.open_example(examples[place])]
    except SourceError as error:
        st.error(str(error))
        return []


def _choose_models(models: Sequence[ServedModel]) -> list[ServedModel]:
    titles = {_title(model): model for model in models}
    champion = [title for title, model in titles.items() if model.champion]
    chosen = st.multiselect("Models, side by side", list(titles), default=champion or list(titles)[:1])
    if st.button("Look for new models", type="tertiary", icon=":material/refresh:"):
        forget_models()
        st.rerun()
    return [titles[title] for title in chosen]


def _show_results(desk: Desk, slices: Sequence[Slice], chosen: Sequence[ServedModel], method: str) -> None:
    read: dict[str, dict[str, Reading]] = {}
    names = _number([one.name for one in slices])
    usable = [model for model in chosen if _can_load(desk, model)]
    for name, one in zip(names, slices, strict=True):
        read[name] = {_title(model): desk.read(one, model) for model in usable}
    if not usable:
        return
    here = names[0]
    if len(slices) > 1:
        st.subheader("All files")
        st.html(draw_table(tabulate_readings(list(read.items()))))
        here = st.selectbox("Look closer at", names)
    _show_slice(desk, slices[names.index(here)], usable, read[here], method)


def _can_load(desk: Desk, model: ServedModel) -> bool:
    try:
        desk.load(model)
    except FalxError as error:
        st.error(f"{_title(model)} cannot be used: {error}")
        return False
    return True


def _show_slice(
    desk: Desk,
    slice_: Slice,
    chosen: Sequence[ServedModel],
    readings: Mapping[str, Reading],
    method: str,
) -> None:
    differing = tell_disagreement(readings)
    if differing:
        st.warning(differing, icon=":material/call_split:")
    lookup = look_for_copies(desk, slice_)
    parts = {_title(model): _find_parts(desk, model) for model in chosen}
    cases: dict[str, Case] = {}
    for start in range(0, len(chosen), ACROSS):
        row = chosen[start : start + ACROSS]
        for column, model in zip(st.columns(min(ACROSS, len(chosen)), gap="medium"), row, strict=False):
            title = _title(model)
            with column, st.container(border=True):
                exposure = lookup.expose(parts[title])
                cases[title] = _show_model(
                    desk, slice_, model, readings[title], exposure, method, alone=len(chosen) == 1
                )
    show_neighbours(desk, lookup, parts)
    show_words(desk.settings, slice_, cases)


def _show_model(
    desk: Desk,
    slice_: Slice,
    model: ServedModel,
    reading: Reading,
    exposure: Exposure | None,
    method: str,
    *,
    alone: bool,
) -> Case:
    """One model's card; where it stands alone, the picture has its place beside the answer."""
    score = _find_score(desk, model)
    st.markdown(f"**{model.title}**{' · champion' if model.champion else ''}")
    left, right = st.columns([1, 1], gap="large") if alone else (st.container(), st.container())
    with left:
        if reading.error is not None:
            st.html(draw_refusal(*explain_refusal(reading.error)))
        else:
            st.html(draw_answer(reading))
            st.markdown(tell_set(reading))
            show_exposure(exposure)
    with right:
        _show_picture(desk, slice_, model, reading, method)
    identity = f"{model.name} version {model.version} · model {model.model_id[:12]}"
    with left if alone else right:
        st.html(draw_notes([*tell_score(score), f"{identity} · gate: {reading.card.gate}"]))
    return Case(reading, score, exposure)


def _show_picture(desk: Desk, slice_: Slice, model: ServedModel, reading: Reading, method: str) -> None:
    if reading.error is None:
        _show_heat(desk, slice_, model, reading, method)
        return
    shown = draw_slice(slice_.data)
    if shown is not None:
        st.image(shown, width="stretch", caption="The slice as it was read")


def _show_heat(desk: Desk, slice_: Slice, model: ServedModel, reading: Reading, method: str) -> None:
    try:
        shown = desk.draw_heat(slice_, model, reading.label, method)
    except ExplanationError as error:
        st.error(str(error))
        return
    caption = f"What speaks for {NAMES.get(reading.label, reading.label)}: {METHODS[method]}"
    st.image(shown, width="stretch", caption=caption)


def _find_parts(desk: Desk, model: ServedModel) -> Parts | None:
    try:
        return desk.find_parts(desk.load(model))
    except TableError as error:
        st.error(f"What {_title(model)} was trained on cannot be read: {error}")
        return None


def _find_score(desk: Desk, model: ServedModel) -> Score | None:
    try:
        return desk.find_score(desk.load(model))
    except TableError as error:
        st.error(f"The score of {_title(model)} cannot be read: {error}")
        return None


def _title(model: ServedModel) -> str:
    return f"{model.title}{' (champion)' if model.champion else ''}"


def _number(names: Sequence[str]) -> list[str]:
    """Names, a number before each that comes more than once."""
    return [f"{place}. {name}" if names.count(name) > 1 else name for place, name in enumerate(names, 1)]
