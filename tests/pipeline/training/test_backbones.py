"""timm's networks and where their weights come from."""

import time

import pytest

from pipeline.errors import TrainingError, WeightsError
from pipeline.training.backbones import find_config, find_imagenet_file


def test_imagenet_without_a_network_fails_fast_and_says_what_to_do() -> None:
    begun = time.monotonic()
    with pytest.raises(WeightsError, match=r"not in the local cache .* set model.weights: none"):
        find_imagenet_file("test_resnet", endpoint="http://127.0.0.1:9")
    assert time.monotonic() - begun < 20


def test_weights_that_nobody_published_are_refused() -> None:
    with pytest.raises(
        WeightsError, match=r"names no weights for 'convnext_atto_rms'; set model.weights: none"
    ):
        find_imagenet_file("convnext_atto_rms")


def test_an_unknown_tag_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"'resnet10t.no_such_tag'; allowed: resnet10t.c3_in1k"):
        find_config("resnet10t.no_such_tag")
