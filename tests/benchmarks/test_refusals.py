"""The count of refusals: strangers are repeatable, tiles are all there, reasons add up."""

import numpy as np

from benchmarks.refusals import count_reasons, encode, find_threshold, make_strangers, shuffle_tiles
from benchmarks.serving import draw_heads, make_package
from pipeline.imaging.decode import decode_image
from pipeline.phantoms.foreign import FOREIGN
from pipeline.serving.predictor import Predictor


def test_strangers_are_repeatable_and_of_every_kind():
    heads = draw_heads(2)
    strangers = make_strangers(heads, count=2)
    assert strangers == make_strangers(heads, count=2)
    assert set(strangers) > set(FOREIGN)
    assert {len(images) for images in strangers.values()} == {2}
    inverted = decode_image(strangers["slice, inverted"][0]).pixels
    assert np.array_equal(255 - inverted, decode_image(heads[0]).pixels)


def test_shuffled_tiles_are_all_there_and_elsewhere():
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224), np.uint8)
    shuffled = shuffle_tiles(pixels)
    assert np.array_equal(np.sort(shuffled.ravel()), np.sort(pixels.ravel()))
    assert not np.array_equal(shuffled, pixels)


def test_reasons_add_up(tmp_path):
    heads = draw_heads(12)
    predictor = Predictor.open(make_package(tmp_path, heads))
    blank = encode(np.full((100, 100), 30, np.uint8))
    counts = count_reasons(predictor, [*heads[:3], blank, b"none"])
    assert sum(counts.values()) == 5
    assert (counts["foreign"], counts["not_an_image"]) == (1, 1)


def test_the_threshold_is_the_conformal_one():
    assert find_threshold(np.arange(199.0)) == 197
    assert find_threshold(np.arange(10.0)) == 9
