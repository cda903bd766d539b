"""Every file of a collection gets one record: what the publisher says, or why it is set aside."""

from pathlib import Path

import pytest

from pipeline.catalog import load_catalog
from pipeline.collections.figshare import describe_slice
from pipeline.collections.reader import PATH_REASONS, FileRecord, add_entry, read_collection
from pipeline.errors import SourceError
from pipeline.schemas import QUARANTINE_REASONS


def test_class_folders_give_split_and_label(write_tree, make_collection) -> None:
    root = write_tree({"Training/glioma/1.jpg": b"", "Testing/notumor/2.jpg": b""})
    assert read_collection(root, make_collection()) == [
        FileRecord("Testing/notumor/2.jpg", "test", "notumor"),
        FileRecord("Training/glioma/1.jpg", "train", "glioma"),
    ]


def test_what_is_no_image_of_the_collection_is_set_aside(write_tree, make_collection) -> None:
    root = write_tree(
        {
            "Training/glioma/1.jpg": b"",
            "Training/glioma/1_mask.png": b"",
            "Training/glioma/.1.jpg": b"",
            "Training/.ipynb_checkpoints/glioma/1.jpg": b"",
            "Training/Glioma/1.jpg": b"",
            "Training/loose.jpg": b"",
            "notes.csv": b"",
            "deep/notes.csv": b"",
            ".mask_mask.png": b"",
        }
    )
    (root / "Training/glioma/.link").symlink_to("1.jpg")
    layout = {
        "reader": "class_folders",
        "folders": [{"path": "Training", "split": "train"}],
        "masks": "*_mask.png",
        "sidecars": ["notes.csv"],
    }
    records = read_collection(root, make_collection(layout=layout))
    found = {record.path: record.reason for record in records}
    assert found == {
        "Training/glioma/1.jpg": None,
        "Training/glioma/1_mask.png": "mask",
        "Training/glioma/.1.jpg": "hidden",
        "Training/glioma/.link": "link",
        "Training/.ipynb_checkpoints/glioma/1.jpg": "hidden",
        "Training/Glioma/1.jpg": "unmapped_label",
        "Training/loose.jpg": "unlabelled",
        "notes.csv": "sidecar",
        "deep/notes.csv": "unlabelled",
        ".mask_mask.png": "hidden",
    }
    assert all(record.detail for record in records if record.reason)
    assert set(found.values()) - {None} <= set(QUARANTINE_REASONS)


def test_an_unmapped_label_names_itself_and_those_allowed(write_tree, make_collection) -> None:
    root = write_tree({"Training/glioma_tumour/1.jpg": b""})
    [record] = read_collection(root, make_collection())
    assert record.reason == "unmapped_label"
    assert record.detail == "'glioma_tumour' is none of: glioma, notumor"
    assert (record.published_split, record.published_label) == ("train", "glioma_tumour")


def test_figshare_files_carry_patient_and_box(write_tree, make_matlab) -> None:
    collection = load_catalog().collections["cheng_figshare"]
    table = (
        "slice,file,label,pid,box_x,box_y,box_w,box_h\n"
        "1,images/1.jpg,1,100360,0.5,0.5,0.2,0.1\n2,images/2.jpg,9,B,,,,\n"
    )
    root = write_tree(
        {
            "slices.csv": table.encode(),
            "images/1.jpg": b"",
            "images/2.jpg": b"",
            "images/3.jpg": b"",
            "4.mat": make_matlab(2, "MR1"),
            "cvind.mat": b"",
            "README 2024.txt": b"",
        }
    )
    records = {record.path: record for record in read_collection(root, collection)}
    assert records["images/1.jpg"] == FileRecord(
        "images/1.jpg", None, "1", slice="1", patient="100360", box=(0.5, 0.5, 0.2, 0.1)
    )
    assert records["4.mat"] == FileRecord("4.mat", slice="4", inside=True)
    entry = describe_slice((root / "4.mat").read_bytes())
    described = add_entry(records["4.mat"], entry, collection)
    assert described == FileRecord("4.mat", None, "2", slice="4", patient="MR1")
    assert {path: record.reason for path, record in records.items() if record.reason} == {
        "slices.csv": "sidecar",
        "cvind.mat": "sidecar",
        "README 2024.txt": "sidecar",
        "images/2.jpg": "unmapped_label",
        "images/3.jpg": "unlabelled",
    }
    assert records["images/2.jpg"].detail == "'9' is none of: 1, 2, 3"


def test_indk214_masks_are_never_images(write_tree) -> None:
    collection = load_catalog().collections["indk214"]
    root = write_tree(
        {
            "DATASET/Segmentation/Pituitary tumor/enh_1.png": b"",
            "DATASET/Segmentation/Pituitary tumor/enh_1_mask.png": b"",
            "DATASET/classification/Testing/notumor/1.jpg": b"",
        }
    )
    found = [
        (record.reason, record.published_split, record.published_label)
        for record in read_collection(root, collection)
    ]
    assert found == [(None, None, "Pituitary tumor"), ("mask", None, None), (None, "test", "notumor")]


def test_a_missing_folder_is_an_error(tmp_path: Path, make_collection) -> None:
    with pytest.raises(SourceError, match=r"sample: .*/gone is no folder; fetch the collection first"):
        read_collection(tmp_path / "gone", make_collection())


def test_a_folder_without_the_layouts_folders_names_what_it_holds(write_tree, make_collection) -> None:
    root = write_tree({"archive/Training/glioma/1.jpg": b""})
    with pytest.raises(
        SourceError, match=r"none of the layout's folders \(Training, Testing\).*\['archive'\]"
    ):
        read_collection(root, make_collection())


def test_reasons_by_path_are_declared() -> None:
    assert set(PATH_REASONS) < set(QUARANTINE_REASONS)
