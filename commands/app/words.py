"""The last section: the result in words, and questions about it, through a language model of one's choice."""

import streamlit as st

from commands.app.desk import Slice
from pipeline.app.heat import encode_slice
from pipeline.app.prompt import GENERATED, QUESTION, Case, Turn, keep_recent, write_instructions
from pipeline.errors import DecodeError, LanguageError
from resources.language import Provider, choose_provider
from resources.settings import Settings

SENT = "Sent are the figures and limits of this page and what you write"


def show_words(settings: Settings, slice_: Slice, cases: dict[str, Case]) -> None:
    """Explain the result in words, where a provider is set up; nothing is sent before somebody asks."""
    st.subheader("In words")
    try:
        provider = choose_provider(settings.words, settings.words_model, settings.words_url)
    except LanguageError as error:
        st.error(str(error))
        return
    if provider.kind is None:
        st.caption(f"{provider.why} The rest of the page needs none.")
        return
    pictured = st.toggle("Send the slice as well", help="Only with this switched on does a picture leave.")
    st.caption(f"{provider.why}. {SENT}{', and the slice' if pictured else '; no picture'}.")
    talk = _open_talk(slice_, cases, pictured)
    for turn in talk:
        _show_turn(turn)
    asked = st.chat_input("Ask about this result")
    if not talk and st.button("Explain in words"):
        asked = QUESTION
    if asked:
        _ask(provider, slice_, cases, talk, asked, pictured=pictured)


def _open_talk(slice_: Slice, cases: dict[str, Case], pictured: bool) -> list[Turn]:
    """The conversation about this very result; another slice, model or switch begins another."""
    models = sorted(case.reading.card.model_id for case in cases.values())
    key = (slice_.digest, *models, pictured)
    if st.session_state.get("talk_key") != key:
        st.session_state.talk_key, st.session_state.talk = key, []
    talk: list[Turn] = st.session_state.talk
    return talk


def _ask(
    provider: Provider, slice_: Slice, cases: dict[str, Case], talk: list[Turn], asked: str, *, pictured: bool
) -> None:
    question = Turn("user", asked)
    _show_turn(question)
    try:
        picture = encode_slice(slice_.data) if pictured else None
        with st.spinner("Waiting for the language model …"):
            turns = keep_recent([*talk, question])
            text = provider.connect().answer(write_instructions(cases), turns, picture=picture)
    except (DecodeError, LanguageError) as error:
        st.error(str(error))
        return
    talk += [question, Turn("model", text)]
    _show_turn(talk[-1])


def _show_turn(turn: Turn) -> None:
    with st.chat_message("user" if turn.role == "user" else "assistant"):
        # A picture in an answer would make the browser ask a stranger's server for it.
        st.markdown(turn.text.replace("![", "!\\["))
        if turn.role == "model":
            st.caption(GENERATED)
