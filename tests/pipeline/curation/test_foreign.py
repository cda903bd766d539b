"""Foreign images: each kind is found and says why, MR slices are left alone under any honest change."""

import gzip
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from pipeline.curation.foreign import KINDS, judge_looks, judge_pixels
from pipeline.errors import TableError
from pipeline.imaging.decode import resize_grey
from pipeline.tables import from_arrow, to_arrow

SAMPLES = Path(matplotlib.get_data_path()) / "sample_data"
NO_DECISIONS = pd.DataFrame({"action": [], "first": []}, dtype=str)
WORDS = (
    "patient",
    "file",
    "edit",
    "view",
    "report",
    "series",
    "contrast",
    "axial",
    "save",
    "close",
    "window",
)


def make_thumbnail(image):
    """128 × 128 grey, and the colour as the scan measures it."""
    image = np.asarray(image, np.uint8)
    if image.ndim == 2:
        return resize_grey(image, 128), 0.0
    grey = np.asarray(Image.fromarray(image).convert("L"))
    return resize_grey(grey, 128), float((image.max(2).astype(int) - image.min(2)).mean())


def draw_mr(seed):
    """A head with scalp, dark bone, folded brain and ventricles."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[-1:1:192j, -1:1:192j]
    radius = np.sqrt((row / rng.uniform(0.75, 0.9)) ** 2 + (column / rng.uniform(0.6, 0.75)) ** 2)
    folds = cv2.GaussianBlur(rng.normal(size=row.shape).astype(np.float32), (0, 0), 4)
    brain = rng.uniform(80, 140) + 25 * np.sign(folds) + 40 * (np.hypot(column / 0.15, row / 0.3) < 1)
    levels = np.where(radius < 0.84, brain, rng.uniform(150, 240) * np.exp(-(((radius - 0.95) / 0.03) ** 2)))
    smooth = cv2.GaussianBlur(levels.astype(np.float32), (0, 0), 1)
    return np.clip(smooth + rng.normal(0, 4, row.shape), 0, 255).astype(np.uint8)


def draw_ct(seed):
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[-1:1:256j, -1:1:256j]
    radius = np.sqrt((row / rng.uniform(0.7, 0.9)) ** 2 + (column / rng.uniform(0.6, 0.75)) ** 2)
    brain = rng.uniform(90, 120) - 45 * (np.hypot((np.abs(column) - 0.12) / 0.06, row / 0.3) < 1)
    bone = 1 - rng.uniform(0.09, 0.15)
    levels = np.select([radius < bone, radius < 1, radius < 1.05], [brain, 255, rng.uniform(20, 60)], 0)
    smooth = cv2.GaussianBlur(levels.astype(np.float32), (0, 0), 0.8)
    return np.clip(smooth + rng.normal(0, 4, row.shape) * (smooth > 5), 0, 255).astype(np.uint8)


def draw_screen(seed, *, dark=False):
    rng = np.random.default_rng(seed)
    paper, ink = ((30, 32, 36), (220, 220, 220)) if dark else ((248, 248, 250), (30, 30, 30))
    image = Image.new("RGB", (640, 480), paper)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, 0, 640, 36], fill=(60, 90, 140))
    pen.rectangle([0, 36, 120, 480], fill=tuple(max(0, level - 12) for level in paper))
    font = ImageFont.load_default(15)
    for y in range(60, 460, 24):
        pen.text((8, y), str(rng.choice(WORDS)), fill=ink, font=font)
        pen.text((140, y), " ".join(rng.choice(WORDS, rng.integers(3, 9))), fill=ink, font=font)
    return np.asarray(image)


def draw_noise(seed):
    rng = np.random.default_rng(seed)
    side = int(rng.choice([64, 128, 224, 256]))
    drawn = (
        rng.integers(0, 256, (side, side)),
        rng.normal(120, 40, (side, side)),
        rng.exponential(40, (side, side)),
    )
    return np.clip(drawn[seed % 3], 0, 255).astype(np.uint8)


def draw_blank(seed):
    rng = np.random.default_rng(seed)
    return np.clip(rng.integers(0, 256) + rng.normal(0, 2, (200, 200)), 0, 255).astype(np.uint8)


def cut_photographs():
    """Two of scikit-learn's photographs and one of Matplotlib's: whole, and in pieces."""
    whole = [*load_sample_images().images, np.asarray(Image.open(SAMPLES / "grace_hopper.jpg"))]
    pieces = [image[k * 90 : k * 90 + 240, k * 60 : k * 60 + 240] for image in whole for k in range(3)]
    return whole + pieces


DRAWN = {"blank": draw_blank, "noise": draw_noise, "screenshot": draw_screen, "ct": draw_ct}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", DRAWN)
def test_each_kind_is_found(kind, seed):
    found, detail = judge_pixels(*make_thumbnail(DRAWN[kind](seed)))
    assert found == kind
    assert any(sign.isdigit() for sign in detail)


def test_photographs_are_found():
    photographs = cut_photographs()
    assert len(photographs) == 12
    kinds = [judge_pixels(*make_thumbnail(image))[0] for image in photographs]
    assert kinds == ["photograph"] * 12


@pytest.mark.parametrize("seed", range(4))
def test_dark_screens_are_found_by_their_lines(seed):
    kind, detail = judge_pixels(*make_thumbnail(draw_screen(seed, dark=True)))
    assert kind == "screenshot"
    assert "straight edges" in detail


CHANGES = {
    "none": lambda pixels: pixels,
    "mirror": lambda pixels: np.ascontiguousarray(pixels[:, ::-1]),
    "turn": lambda pixels: np.ascontiguousarray(np.rot90(pixels)),
    "rotate": lambda pixels: rotate(pixels, 12, 0),
    "rotate on white": lambda pixels: rotate(pixels, -15, 255),
    "crop": lambda pixels: np.ascontiguousarray(pixels[30:-30, 40:-20]),
    "black border": lambda pixels: cv2.copyMakeBorder(pixels, 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=0),
    "white border": lambda pixels: cv2.copyMakeBorder(pixels, 12, 12, 12, 12, cv2.BORDER_CONSTANT, value=255),
    "gamma": lambda pixels: (255 * (pixels / 255) ** 0.5).astype(np.uint8),
    "dark": lambda pixels: (pixels * 0.5).astype(np.uint8),
    "bright": lambda pixels: np.clip(pixels * 1.4, 0, 255).astype(np.uint8),
    "contrast": lambda pixels: cv2.createCLAHE(3, (8, 8)).apply(pixels),
    "blur": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 3),
    "grain": lambda pixels: np.clip(
        pixels + np.random.default_rng(0).normal(0, 20, pixels.shape), 0, 255
    ).astype(np.uint8),
}


def rotate(pixels, degrees, ground):
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(pixels, matrix, (width, height), borderValue=ground)


@pytest.mark.parametrize("change", CHANGES)
def test_mr_slices_are_left_alone(change):
    slices = [draw_mr(seed) for seed in range(5)]
    data = np.frombuffer(gzip.decompress((SAMPLES / "s1045.ima.gz").read_bytes()), np.uint16)
    levels = data.reshape(256, 256).astype(float)
    slices.append((255 * levels / levels.max()).astype(np.uint8))  # Matplotlib's MR sample
    assert [judge_pixels(*make_thumbnail(CHANGES[change](pixels))) for pixels in slices] == [None] * 6


def tables(*images, keep=()):
    ids = [f"{number:032x}" for number in range(len(images))]
    made = [make_thumbnail(image) for image in images]
    thumbnails = pd.DataFrame({"image_id": ids, "pixels": [pixels.tobytes() for pixels, _ in made]})
    looks = pd.DataFrame({"image_id": ids, "colour": [colour for _, colour in made]})
    places = (("b", "{}.jpg", None), ("a", "{}.jpg", "hidden"), ("b", "x/{}.jpg", None))
    scan = pd.DataFrame(
        [(name, path.format(one), one, reason) for one in ids for name, path, reason in places],
        columns=["collection", "path", "md5", "reason"],
    )
    decisions = pd.DataFrame({"action": "keep", "first": list(keep)}, dtype=str)
    return looks, thumbnails, scan, decisions


def test_the_table_names_image_kind_and_reason():
    given = tables(draw_ct(1), draw_mr(1), draw_noise(1), keep=[f"{2:032x}"])
    found = from_arrow("foreign", to_arrow("foreign", judge_looks(*given)))
    assert list(found["image_id"]) == [f"{0:032x}", f"{2:032x}"]
    assert list(found["kind"]) == ["ct", "noise"]
    assert set(found["kind"]) <= set(KINDS)
    assert list(found["kept"]) == [False, True]
    assert list(found["collection"]) == ["b", "b"]
    assert list(found["path"]) == [f"{0:032x}.jpg", f"{2:032x}.jpg"]
    assert found["detail"].str.contains("at least|at most").all()


def test_row_order_changes_nothing():
    given = tables(draw_ct(1), draw_mr(1), draw_noise(1), draw_blank(2))
    shuffled = [frame.sample(frac=1, random_state=1) for frame in given]
    pd.testing.assert_frame_equal(judge_looks(*shuffled), judge_looks(*given))


def test_images_may_stand_in_for_files():
    looks, thumbnails, scan, decisions = tables(draw_ct(1))
    images = pd.DataFrame({"image_id": looks["image_id"], "collection": "c", "path": "p.jpg"})
    assert judge_looks(looks, thumbnails, images, decisions)["path"].item() == "p.jpg"
    assert judge_looks(looks, thumbnails, scan, decisions)["path"].item().endswith(".jpg")


@pytest.mark.parametrize(("name", "position"), [("looks", 0), ("files", 2)])
def test_tables_of_other_images_are_refused(name, position):
    given = list(tables(draw_mr(1), draw_mr(2)))
    given[position] = given[position].iloc[:1]
    with pytest.raises(TableError, match=f"1 images of thumbnails are not in {name}, the first is 0"):
        judge_looks(*given)


def test_thumbnails_of_another_size_are_refused():
    looks, thumbnails, scan, decisions = tables(draw_mr(1))
    with pytest.raises(TableError, match="do not have 128 × 128 bytes"):
        judge_looks(looks, thumbnails.assign(pixels=b"short"), scan, decisions)
