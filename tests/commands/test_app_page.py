"""The page's states by Streamlit's own tester: models, uploads, refusals, words; no lake behind it."""

import sys

import pandas as pd
import pytest
import streamlit as st
from language_server import serve_language, speak_gemini
from shades import draw_head, draw_shade, make_package, write_dicom
from streamlit.testing.v1 import AppTest

from commands.app import launch
from resources.lake import Lake
from resources.mlflow_server import serve
from resources.registry import CHAMPION, RELEASED
from resources.settings import Settings
from resources.tracking import Connection

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("app-page")]
SCOPE = "Research software, not a medical device. Not for diagnosis, treatment or triage."
PROTOCOLS = ("patient", "published")


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """Address of a server with the shades model under two protocols; that of `patient` is the champion."""
    home = tmp_path_factory.mktemp("app-page")
    with serve(home) as handle:
        connection = Connection(handle.uri, home)
        for protocol in PROTOCOLS:
            card = make_package(home / protocol, protocol=protocol, model_id=f"{protocol}-id")
            with connection.run(protocol, "shades") as run:
                connection.register(run.run_id, home / protocol / "package", card)
        released = connection.release("falx-shades-patient", "1")
        connection.set_alias(RELEASED, CHAMPION, released)
        yield handle.uri


@pytest.fixture
def settings(monkeypatch, tmp_path):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FALX_{name.upper()}", raising=False)
    for name in ("GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FALX_HOME", str(tmp_path))
    # The tester makes the page `__main__`; processes that later tests spawn would run it once more.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    st.cache_data.clear()
    st.cache_resource.clear()
    return monkeypatch


@pytest.fixture
def page(settings, registered) -> AppTest:
    """The page over the registered models, as it first shows."""
    settings.setenv("FALX_MLFLOW_URI", registered)
    page = AppTest.from_file(str(launch.PAGE), default_timeout=120).run()
    assert not page.exception
    return page


def upload(page: AppTest, *files: tuple[str, bytes]) -> AppTest:
    page.segmented_control[0].set_value("My own files").run()
    page.file_uploader[0].set_value([(name, data, "image/png") for name, data in files]).run()
    assert not page.exception
    return page


def say(page: AppTest) -> str:
    """All that the page says."""
    kinds = (page.markdown, page.caption, page.info, page.warning, page.error, page.subheader)
    texts = [str(one.value) for kind in kinds for one in kind]
    return "\n".join([*texts, *(one.proto.body for one in page.get("html"))])


def test_the_scope_and_the_champion_are_there_before_anything_is_given(page):
    assert SCOPE in say(page)
    assert page.multiselect[0].options == ["shades · patient (champion)", "shades · published"]
    assert page.multiselect[0].value == ["shades · patient (champion)"]
    assert "nothing is curated here" in say(page)


def test_an_upload_is_answered_with_figures_and_their_worth(page):
    text = say(upload(page, ("a.png", draw_shade("meningioma", ".png"))))
    assert '<div class="falx-answer">meningioma</div>' in text
    assert "no conformal sets" in text
    assert "Not evaluated" in text
    assert "falx-shades-patient version 1 · model patient-id · gate: passed" in text
    assert "Training pictures cannot be compared with" in text
    assert len(page.get("image")) == 1


def test_a_dicom_file_is_answered(page):
    text = say(upload(page, ("a.dcm", write_dicom(draw_head("pituitary")))))
    assert '<div class="falx-answer">pituitary tumour</div>' in text


def test_each_file_is_a_row_and_a_refusal_spoils_no_other(page):
    files = ("good.png", draw_shade("glioma", ".png")), ("bad.png", b"no picture")
    text = say(upload(page, *files))
    assert "<td>good.png</td><td>glioma" in text
    assert "<td>bad.png</td><td>refused: not_an_image</td>" in text
    page.selectbox[-1].select("bad.png").run()
    text = say(page)
    assert "<b>Refused: not_an_image</b>" in text
    assert "There is no picture in this file" in text


def test_two_models_stand_side_by_side(page):
    page.multiselect[0].select("shades · published").run()
    text = say(upload(page, ("a.png", draw_shade("glioma", ".png"))))
    assert text.count('<div class="falx-answer">glioma</div>') == 2
    assert len(page.get("image")) == 2


def test_without_a_chosen_model_it_asks_for_one(page):
    page.multiselect[0].set_value([]).run()
    assert "Choose at least one model." in say(upload(page, ("a.png", draw_shade("glioma", ".png"))))


def test_a_broken_package_is_an_error_beside_the_others(page, tmp_path):
    upload(page, ("a.png", draw_shade("glioma", ".png")))
    st.cache_resource.clear()
    (tmp_path / "cache" / "served" / "patient-id" / "best.safetensors").write_bytes(b"other")
    page.multiselect[0].select("shades · published").run()
    text = say(page)
    assert "shades · patient (champion) cannot be used" in text
    assert '<div class="falx-answer">glioma</div>' in text


def test_a_search_that_failed_is_not_told_as_nothing_found(page, tmp_path):
    thumbnails = pd.DataFrame({"image_id": ["a"], "pixels": [bytes(128 * 128)]})
    lake = Lake(home=str(tmp_path))
    lake.write("thumbnails", thumbnails, inputs="i", code="c")
    lake.path("thumbnails").write_bytes(b"damaged")
    text = say(upload(page, ("a.png", draw_shade("glioma", ".png"))))
    assert "Training pictures cannot be compared with" in text
    assert "Whether this slice was in training is not known here." in text
    assert "No copy of this slice was found" not in text


def test_a_file_that_is_no_picture_is_not_sent_to_a_language_model(settings, registered):
    with serve_language() as server:
        settings.setenv("FALX_MLFLOW_URI", registered)
        settings.setenv("GEMINI_API_KEY", "secret-key")
        settings.setenv("FALX_WORDS_URL", server.address)
        page = AppTest.from_file(str(launch.PAGE), default_timeout=120).run()
        upload(page, ("bad.png", b"no picture at all"))
        next(one for one in page.toggle if one.label == "Send the slice as well").set_value(True).run()
        press(page, "Explain in words")
        assert not page.exception
        assert server.requests == []


def test_a_registry_that_cannot_be_reached_is_said(settings):
    settings.setenv("FALX_MLFLOW_URI", "http://127.0.0.1:9")
    settings.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    page = AppTest.from_file(str(launch.PAGE), default_timeout=120).run()
    assert not page.exception
    assert "TrackingError: read_alias: the MLflow server at http://127.0.0.1:9" in say(page)
    assert SCOPE in say(page)


def test_words_are_off_without_a_key(page):
    text = say(upload(page, ("a.png", draw_shade("glioma", ".png"))))
    assert "Off: there is no key." in text
    assert not page.chat_input


def test_words_carry_figures_and_are_marked_and_no_picture_leaves(settings, registered):
    with serve_language() as server:
        server.body = speak_gemini("A plain word. ![x](http://stranger/x.png)")
        settings.setenv("FALX_MLFLOW_URI", registered)
        settings.setenv("GEMINI_API_KEY", "secret-key")
        settings.setenv("FALX_WORDS_URL", server.address)
        page = AppTest.from_file(str(launch.PAGE), default_timeout=120).run()
        upload(page, ("patient-name.png", draw_shade("glioma", ".png")))
        assert server.requests == []
        press(page, "Explain in words")
        text, sent = say(page), server.requests[-1][2].decode()
        assert "A plain word." in text
        assert "![" not in text
        assert "Generated by a language model" in text
        assert "Calibrated probabilities: glioma" in sent
        assert "Not for diagnosis" in sent
        assert not [word for word in ("inlineData", "patient-name", "secret-key") if word in sent]
        page.chat_input[0].set_value("Is it certain?").run()
        assert [turn["role"] for turn in server.sent["contents"]] == ["user", "model", "user"]
        next(one for one in page.toggle if one.label == "Send the slice as well").set_value(True).run()
        press(page, "Explain in words")
        assert "inlineData" in server.requests[-1][2].decode()
        server.status = 429
        page.chat_input[0].set_value("And now?").run()
        assert "Gemini has had enough for now (429)" in say(page)
        assert not page.exception


def press(page: AppTest, label: str) -> None:
    next(one for one in page.button if one.label == label).click().run()
