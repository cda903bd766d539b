"""Foreign images: each kind is what it says, lies among `no_tumor`, and is the same for the same seed."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.phantoms.foreign import FOREIGN, draw_foreign


def open_foreign(kind: str, seed: int = 0) -> np.ndarray:
    with Image.open(io.BytesIO(draw_foreign(kind, np.random.default_rng(seed)))) as image:
        return np.asarray(image, np.float64)


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_seed_draws_the_same_and_another_draws_another(kind):
    first, again, other = (draw_foreign(kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_kinds_are_what_they_say():
    photograph, screenshot, noise, blank, ct = (open_foreign(kind) for kind in FOREIGN)
    assert list(FOREIGN) == ["photograph", "screenshot", "noise", "blank", "ct"]
    assert np.ptp(photograph, axis=2).mean() > 25, "colour"
    assert (screenshot.min(axis=2) > 220).mean() > 0.5, "white paper"
    assert noise.std() > 60
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.3
    assert blank.std() < 2
    assert (ct > 250).mean() > 0.03, "bone is white"
    assert 0.2 < ((ct > 90) & (ct < 140)).mean() < 0.5, "brain is flat and grey"


def test_every_kind_lies_among_no_tumor_in_both_editions(key):
    planted = [file for file in key.files if file.foreign]
    for name in ("masoudnickparvar", "sartajbhuvaji"):
        own = [file for file in planted if file.collection == name]
        assert {file.foreign for file in own} == set(FOREIGN)
        assert {file.published_label for file in own} <= {"notumor", "no_tumor"}
        assert {file.published_split for file in own} == {"train", "test"}
    assert {(file.quarantine, file.patient, file.label) for file in planted} == {(None, None, None)}
    assert len({file.picture for file in planted}) == len(planted)
    assert len({file.md5 for file in planted}) == len(planted) == 2 * len(FOREIGN)
