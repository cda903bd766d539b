"""The slice as it is shown: aspect kept, heat in place, no header in what is sent."""

import cv2
import numpy as np
import pytest
from shades import draw_head, draw_shade, make_package, write_dicom

from pipeline.app.heat import METHODS, draw_slice, draw_slice_heat, encode_slice
from pipeline.errors import DecodeError, ExplanationError
from pipeline.explanations import heat
from pipeline.imaging.decode import decode_image
from pipeline.serving.predictor import Predictor


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shades")
    make_package(folder)
    return Predictor.open(folder / "package")


def test_every_method_has_words():
    assert tuple(METHODS) == heat.METHODS


def test_a_small_slice_is_enlarged_and_keeps_its_aspect():
    assert draw_slice(draw_shade("glioma")).shape == (267, 320)
    assert draw_slice(b"no picture") is None


@pytest.mark.parametrize("method", list(METHODS))
def test_the_heat_lies_over_the_slice(predictor, method):
    shown = draw_slice_heat(predictor, draw_shade("pituitary"), "pituitary", method)
    assert shown.shape == (267, 320, 3)
    assert np.ptp(shown, axis=2).max() > 0  # something is in colour
    assert np.array_equal(shown, draw_slice_heat(predictor, draw_shade("pituitary"), "pituitary", method))


def test_a_picture_that_cannot_be_encoded_is_an_error(monkeypatch):
    picture = draw_shade("glioma")
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(DecodeError, match="the picture cannot be encoded"):
        encode_slice(picture)


def test_an_unknown_method_is_refused(predictor):
    with pytest.raises(ExplanationError, match="no method"):
        draw_slice_heat(predictor, draw_shade("glioma"), "glioma", "tea_leaves")


def test_what_is_sent_is_pixels_alone():
    data = write_dicom(draw_head("glioma"))
    sent = encode_slice(data)
    assert b"1.2.3" in data
    assert b"1.2.3" not in sent
    assert np.abs(decode_image(sent).pixels.astype(int) - decode_image(data).pixels).max() == 0


def test_what_is_sent_is_at_most_512_pixels_wide():
    large = cv2.imencode(".png", cv2.resize(draw_head("glioma"), (1200, 1000)))[1].tobytes()
    assert decode_image(encode_slice(large)).pixels.shape == (427, 512)
    with pytest.raises(DecodeError):
        encode_slice(b"no picture")
