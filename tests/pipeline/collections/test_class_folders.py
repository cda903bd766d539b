"""Split and label come from the folders that the layout names."""

import pytest

from pipeline.catalog import Layout
from pipeline.collections.class_folders import Place, Places

LAYOUT = Layout.model_validate(
    {
        "reader": "class_folders",
        "folders": [
            {"path": "Training", "split": "train"},
            {"path": "DATA/Testing", "split": "test"},
            {"path": "DATA", "split": None},
        ],
    }
)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("Training/glioma/1.jpg", Place("train", "glioma")),
        ("Training/glioma/more/1.jpg", Place("train", "glioma")),
        ("DATA/Testing/no tumor/1.jpg", Place("test", "no tumor")),
        ("DATA/glioma/1.jpg", Place(None, "glioma")),
        ("Training/1.jpg", None),
        ("DATA/Testing/1.jpg", Place(None, "Testing")),
        ("1.jpg", None),
        ("training/glioma/1.jpg", None),
        ("Training2/glioma/1.jpg", None),
        ("other/Training/glioma/1.jpg", None),
    ],
)
def test_the_deepest_folder_of_the_layout_counts(path: str, place: Place | None) -> None:
    places = Places(LAYOUT)
    assert [places.find(path), places.find(path)] == [place, place]


def test_the_layout_may_be_the_collections_folder_itself() -> None:
    layout = Layout.model_validate({"reader": "class_folders", "folders": [{"path": "."}]})
    assert Places(layout).find("glioma/1.jpg") == Place(None, "glioma")
    assert Places(layout).find("1.jpg") is None
