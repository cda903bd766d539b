"""The synthetic copies: deterministic, and carried by the transform that they claim."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.copies import KINDS, SINGLE, list_kinds, make_copy, sample_images, warp_image
from pipeline.errors import SettingsError

Pixels = NDArray[np.uint8]


def draw_head(height: int = 180, width: int = 210, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.standard_normal((18, 21)), (width, height), interpolation=cv2.INTER_CUBIC)
    head = np.zeros((height, width))
    cv2.ellipse(head, (width // 2 + 6, height // 2 - 4), (width // 3, height // 3), 10, 0, 360, 110, -1)
    return np.clip((head > 0) * (head + 30 * texture), 0, 255).astype(np.uint8)


def correlate(first: Pixels, second: Pixels) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_a_function_of_its_input(kind: str) -> None:
    head = draw_head()
    before = head.copy()
    copy, transform = make_copy(head, kind, 3)
    again, same = make_copy(head, kind, 3)
    assert np.array_equal(copy, again) and transform == same
    assert np.array_equal(head, before)
    assert copy.dtype == np.uint8 and copy.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_transform_carries_the_source_onto_its_copy(kind: str, seed: int) -> None:
    head = draw_head(seed=seed)
    copy, transform = make_copy(head, kind, seed)
    carried = warp_image(head, transform, copy.shape)
    inside = warp_image(np.full_like(head, 255), transform, copy.shape) == 255
    assert correlate(carried[inside], copy[inside]) > 0.9


@pytest.mark.parametrize("kind", ["crop", "border", "rotation", "mirror", "flip", "turn90", "turn270"])
def test_without_its_transform_a_moved_copy_is_off(kind: str) -> None:
    head = draw_head()
    copy, _ = make_copy(head, kind, 1)
    assert correlate(warp_image(head, (1, 0, 0, 0, 1, 0), copy.shape), copy) < 0.95


def test_a_quarter_turn_is_counter_clockwise() -> None:
    head = draw_head()
    copy, transform = make_copy(head, "turn90", 0)
    assert np.array_equal(copy, np.rot90(head))
    assert transform == (0, 1, 0, -1, 0, 1)


def test_a_mirror_turns_left_and_right() -> None:
    head = draw_head()
    copy, transform = make_copy(head, "mirror", 0)
    assert np.array_equal(copy, head[:, ::-1])
    assert transform == (-1, 0, 1, 0, 1, 0)


def test_seeds_differ() -> None:
    head = draw_head()
    fixed = {"histogram", "mirror", "flip", "turn90", "turn180", "turn270"}
    for kind in set(SINGLE) - fixed:
        assert len({make_copy(head, kind, seed)[0].tobytes() for seed in range(4)}) > 1, kind


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="'sepia'; there are jpeg, rescale"):
        make_copy(draw_head(), "sepia", 0)
    with pytest.raises(SettingsError, match="sepia; there are jpeg"):
        list_kinds(["jpeg", "sepia"])
    assert list_kinds() == list(KINDS)


def write_folder(folder: Path, names: list[str]) -> Path:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", draw_head(seed=seed))[1].tobytes())
    return folder


def test_a_sample_depends_on_content_not_on_names(tmp_path: Path) -> None:
    names = [f"one/{number}.png" for number in range(8)] + [f"two/{number}.png" for number in range(8)]
    first = sample_images(write_folder(tmp_path / "a", names), 6, "jpeg")
    renamed = [name.replace(".png", "_renamed.png").replace("/", "/z/") for name in names]
    second = sample_images(write_folder(tmp_path / "b", renamed), 6, "jpeg")
    assert [sample.image_id for sample in first] == [sample.image_id for sample in second]
    assert [sample.collection for sample in first] == ["one"] * 3 + ["two"] * 3
    other = sample_images(tmp_path / "a", 6, "crop")
    assert {sample.image_id for sample in other} != {sample.image_id for sample in first}


def test_equal_bytes_are_drawn_once_and_hidden_files_never(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["one/a.png", "one/b.png", "one/.hidden/c.png"])
    (folder / "one/copy.png").write_bytes((folder / "one/a.png").read_bytes())
    assert len(sample_images(folder, 0, "all")) == 2
    with pytest.raises(SettingsError, match="one has 2 readable images, 3 are asked for"):
        sample_images(folder, 3, "all")


def test_a_broken_image_is_passed_over(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ["one/a.png", "one/b.png"])
    (folder / "one/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot much")
    assert len(sample_images(folder, 2, "all")) == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FALX_DATASETS"):
        sample_images(tmp_path, 2, "all")
