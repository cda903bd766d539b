"""The bad collection: every label wrong, another scanner, and byte-identical copies of what is to come."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.phantoms.arrivals import FOLDERS, LEAKS, LEAKY, spoil_collection


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    for name, shade, labels in (("source", 60, FOLDERS), ("sound", 90, LEAKY)):
        for part in ("Training", "Testing"):
            for index, label in enumerate(labels):
                folder = tmp_path / name / part / label
                folder.mkdir(parents=True)
                for number in range(LEAKS + 1):
                    pixels = np.full((16, 16), shade + 10 * index + number, np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number}.jpg")
    (tmp_path / "source" / "Training" / "glioma" / "part_0.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "source" / "Training" / "glioma" / "empty_0.jpg").write_bytes(b"")
    return tmp_path / "source", tmp_path / "sound"


def test_every_label_is_wrong_and_every_picture_brighter(sources, tmp_path):
    counts = spoil_collection(*sources, tmp_path / "bad")
    assert counts == {"mislabelled": 8 * (LEAKS + 1), "leaks": 4 * LEAKS}
    shade = np.asarray(Image.open(tmp_path / "bad" / "Testing" / "meningioma" / "export_0.png")).mean()
    assert shade > 100, "a glioma of shade 60"


def test_leaks_are_byte_for_byte_under_another_label(sources, tmp_path):
    spoil_collection(*sources, tmp_path / "bad")
    original = sources[1] / "Training" / "no_tumor" / "0.jpg"
    copy = tmp_path / "bad" / "Training" / "glioma" / "copy_0.jpg"
    assert hashlib.md5(original.read_bytes()).digest() == hashlib.md5(copy.read_bytes()).digest()


def test_the_same_sources_give_the_same_files(sources, tmp_path):
    for name in ("one", "two"):
        spoil_collection(*sources, tmp_path / name)
    files = [sorted((tmp_path / name).rglob("*.*")) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    with pytest.raises(FileExistsError):
        spoil_collection(*sources, tmp_path / "one")
