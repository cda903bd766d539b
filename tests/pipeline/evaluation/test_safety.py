"""The safety of a score is that of its test images."""

import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.evaluation.safety import tell_safety

GROUPS = pd.DataFrame(
    {"image_id": list("abcd"), "group_id": list("wxyz"), "safety": ["patient", "patient", "picture", "image"]}
)


def pick_images(names: str) -> pd.DataFrame:
    return pd.DataFrame({"image_id": list(names)})


@pytest.mark.parametrize("protocol", ["patient", "fold:2", "external:cheng_figshare"])
def test_behind_a_guarded_split_known_patients_are_told_from_unknown_ones(protocol):
    assert tell_safety(protocol, pick_images("aabb"), GROUPS) == (
        "patient-safe: no patient of the 2 test images is in training"
    )
    assert tell_safety(protocol, pick_images("abcd"), GROUPS) == (
        "patient-safe for 2 of 4 test images; the patients of the others are unknown, and they are "
        "picture-safe: no known copy of them is in training"
    )
    assert tell_safety(protocol, pick_images("cd"), GROUPS).startswith("picture-safe: no known copy of the 2")


def test_no_open_protocol_is_safe_whatever_the_groups_say():
    assert tell_safety("published", pick_images("ab"), GROUPS).startswith("not safe: byte-identical files")
    assert tell_safety("stratified", pick_images("ab"), GROUPS).startswith("image-level only: pictures and")


def test_an_image_without_a_group_is_named():
    with pytest.raises(
        TableError, match="1 of 2 images tested under patient are in no group, the first is q"
    ):
        tell_safety("patient", pick_images("aq"), GROUPS)


def test_an_empty_test_part_is_refused():
    with pytest.raises(TableError, match="no image was tested under patient"):
        tell_safety("patient", pick_images(""), GROUPS)
