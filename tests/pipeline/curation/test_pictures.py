"""Same picture: copies are found however they were changed, neighbours are not, and order changes nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.curation.pictures import find_pictures, open_thumbnails, prove_copies, turn
from pipeline.errors import TableError

COLUMNS = [
    "image_id",
    "picture_id",
    "representative",
    "joined_to",
    "mirrored",
    "flipped",
    "score",
    "evidence",
]


def frames(kit, stack, collections=None):
    names = [kit.name_image(name) for name in stack]
    thumbnails = pd.DataFrame({"image_id": names, "pixels": [pixels.tobytes() for pixels in stack.values()]})
    owners = [(collections or {}).get(name, "kaggle_a") for name in stack]
    images = pd.DataFrame({"image_id": names, "collection": owners})
    return thumbnails, images


def find(kit, stack, **options):
    pictures = find_pictures(*frames(kit, stack), **options).set_index("image_id")
    return pictures.rename(index={kit.name_image(name): name for name in stack})


def together(pictures, one, other):
    return pictures.at[one, "picture_id"] == pictures.at[other, "picture_id"]


@pytest.fixture(scope="module")
def heads(kit):
    return {f"head{k}": kit.paint(k) for k in range(12)}


CHANGES = {
    "re-encoded": {"quality": 60},
    "brightened": {"gain": 1.3},
    "darkened": {"gain": 0.4},
    "gamma 2": {"gamma": 2.0},
    "gamma 0.6": {"gamma": 0.6},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("orientation", range(4))
def test_copy_is_found_in_every_orientation(kit, heads, change, orientation):
    copies = {
        f"copy{k}": np.ascontiguousarray(turn(kit.reencode(heads[f"head{k}"], **change), orientation))
        for k in range(4)
    }
    pictures = find(kit, heads | copies)
    assert pictures["picture_id"].nunique() == len(heads)
    for k in range(4):
        head, copy = pictures.loc[f"head{k}"], pictures.loc[f"copy{k}"]
        assert head["picture_id"] == copy["picture_id"]
        assert (head["mirrored"] != copy["mirrored"]) == bool(orientation & 1)
        assert (head["flipped"] != copy["flipped"]) == bool(orientation & 2)


def test_gamma_copy_needs_the_local_proof(kit, heads):
    pictures = find(kit, heads | {"copy": kit.reencode(heads["head0"], gamma=2.5)})
    joined = pictures.loc[["head0", "copy"]]
    assert together(pictures, "head0", "copy")
    assert set(joined["evidence"]) == {"self", "lncc"}
    assert 0.9 <= joined["score"].min() < 1


def test_blended_neighbour_stays_alone(kit, heads):
    blend = (0.6 * heads["head0"].astype(float) + 0.4 * heads["head1"]).astype(np.uint8)
    assert not together(find(kit, heads | {"neighbour": blend}), "head0", "neighbour")


def test_every_row_is_declared_and_representatives_stand_for_themselves(kit, heads):
    stack = heads | {"copy": kit.reencode(heads["head3"])}
    pictures = find_pictures(*frames(kit, stack))
    assert list(pictures.columns) == COLUMNS
    assert list(pictures["image_id"]) == sorted(map(kit.name_image, stack))
    kit.cast("pictures", pictures)
    selves = pictures[pictures["evidence"] == "self"]
    assert (selves["image_id"] == selves["representative"]).all() and (selves["score"] == 1).all()
    smallest = pictures.groupby("picture_id")["image_id"].min()
    assert (pictures.groupby("picture_id")["representative"].first() == smallest).all()
    assert set(pictures["joined_to"]) <= set(pictures["image_id"])


def test_blank_images_never_join(kit, heads):
    blank = {f"blank{k}": np.full((64, 64), 10 + k, np.uint8) for k in range(3)}
    assert find(kit, heads | blank)["picture_id"].nunique() == len(heads) + 3


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**16))
def test_order_of_rows_changes_nothing(kit, heads, seed):
    copies = {"mirror": np.ascontiguousarray(heads["head1"][:, ::-1]), "dark": kit.reencode(heads["head2"])}
    thumbnails, images = frames(kit, heads | copies)
    shuffled = find_pictures(
        thumbnails.sample(frac=1, random_state=seed), images.sample(frac=1, random_state=seed + 1)
    )
    pd.testing.assert_frame_equal(shuffled, find_pictures(thumbnails, images))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1000, 2**16))
def test_unrelated_image_changes_no_other_row(kit, heads, seed):
    stack = heads | {"copy": kit.reencode(heads["head5"])}
    before, after = find(kit, stack), find(kit, stack | {"new": kit.paint(seed)})
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_chain_of_copies_never_glues_two_reference_slices(kit, heads):
    one, other = heads["head0"].astype(float), heads["head1"].astype(float)
    steps = {f"step{k:02}": (one + (other - one) * k / 24).astype(np.uint8) for k in range(25)}
    assert find(kit, steps)["picture_id"].nunique() == 1, "the chain must connect for this test to mean much"
    owners = {"step00": "reference", "step24": "reference"}
    pictures = find_pictures(*frames(kit, steps, owners), references=["reference"])
    pictures = pictures.set_index("image_id").rename(index={kit.name_image(name): name for name in steps})
    assert pictures["picture_id"].nunique() == 2
    assert together(pictures, "step00", "step01") and together(pictures, "step24", "step23")
    assert not together(pictures, "step00", "step24")


def test_reference_slices_proven_against_each_other_are_one_picture(kit, heads):
    stack = heads | {"again": kit.reencode(heads["head0"])}
    thumbnails, images = frames(kit, stack, dict.fromkeys(stack, "reference"))
    assert find_pictures(thumbnails, images, references=["reference"])["picture_id"].nunique() == len(heads)


def test_each_pair_is_proven_once_in_its_best_orientation(kit):
    symmetric = kit.paint(3).astype(float)
    symmetric = ((symmetric + symmetric[:, ::-1]) / 2).astype(np.uint8)
    edges = prove_copies(np.stack([symmetric, kit.reencode(symmetric), kit.paint(4)]))
    assert [(edge.first, edge.second, edge.orientation) for edge in edges] == [(0, 1, 0)]


def test_opens_thumbnails_in_order(kit):
    stack = {"b": kit.paint(1), "a": kit.paint(2)}
    assert (open_thumbnails(frames(kit, stack)[0]) == np.stack(list(stack.values()))).all()


def test_refuses_thumbnails_of_another_size():
    frame = pd.DataFrame({"image_id": ["a", "b"], "pixels": [bytes(4096), bytes(4095)]})
    with pytest.raises(TableError, match="1 thumbnails do not have 64 × 64 bytes, the first is b"):
        open_thumbnails(frame)


def test_refuses_tables_of_different_images(kit, heads):
    thumbnails, images = frames(kit, heads)
    with pytest.raises(TableError, match="differ in 1 image_ids"):
        find_pictures(thumbnails, images.iloc[1:])


def test_golden_ids(kit, heads):
    pictures = find(kit, {"head0": heads["head0"]})
    assert pictures.loc["head0", "picture_id"] == "4e9fc9e958e14d35"
