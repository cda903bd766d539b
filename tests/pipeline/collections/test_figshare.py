"""The reference collection in both layouts: what each slice is told by, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collections.figshare import Entry, describe_slice, find_box, find_outline_box, read_entries
from pipeline.errors import SourceError

HEADER = "slice,file,label,pid,box_x,box_y,box_w,box_h"
ROW = "7,images/7.jpg,1,100360,0.63,0.42,0.22,0.15"


def write_table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    (folder / "slices.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


# --- slices.csv ---


def test_a_row_describes_its_file(tmp_path: Path) -> None:
    entries = read_entries(write_table(tmp_path, ROW), ["images/7.jpg"])
    assert entries == {"images/7.jpg": Entry("1", "7", "100360", (0.63, 0.42, 0.22, 0.15))}


def test_columns_may_come_in_any_order_behind_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "slices.csv").write_text(
        "pid,label,file,slice,box_w,box_h,box_x,box_y\r\nA,3,7.jpg,7,.1,.2,.3,.4\r\n", encoding="utf-8-sig"
    )
    assert read_entries(tmp_path, ["7.jpg"]) == {"7.jpg": Entry("3", "7", "A", (0.3, 0.4, 0.1, 0.2))}


def test_patient_and_box_may_be_unknown(tmp_path: Path) -> None:
    entries = read_entries(write_table(tmp_path, "7,7.jpg,1,,,,,"), ["7.jpg"])
    assert entries == {"7.jpg": Entry("1", "7")}


def test_a_file_that_no_row_lists_is_unlabelled(tmp_path: Path) -> None:
    entries = read_entries(write_table(tmp_path, ROW), ["images/7.jpg", "images/8.jpg"])
    assert entries["images/8.jpg"].reason == "unlabelled"
    assert "slices.csv does not list it" in str(entries["images/8.jpg"].detail)


def test_a_row_without_a_label_leaves_its_file_unlabelled(tmp_path: Path) -> None:
    entries = read_entries(write_table(tmp_path, "7,7.jpg,,A,,,,"), ["7.jpg"])
    assert entries["7.jpg"] == Entry(reason="unlabelled", detail="slices.csv gives it no label")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [ROW, "8,images/8.jpg,1,A,.1,.1,.1,.1"],
            r"lists 1 files that are not there.*'images/8\.jpg'.*fetch",
        ),
        ([ROW, "8,../7.jpg,1,A,.1,.1,.1,.1"], r"not there"),
        ([ROW, "8,images/7.jpg,1,A,.1,.1,.1,.1"], r"row 3: file 'images/7\.jpg' is listed twice"),
        ([ROW, "7,images/8.jpg,1,A,.1,.1,.1,.1"], r"row 3: slice '7' stands in row 2 already"),
        (["7,images/7.jpg,1,A,wide,.1,.1,.1"], r"row 2: box_x is 'wide'; a fraction from 0 to 1"),
        (["7,images/7.jpg,1,A,.1,.1,.1,"], r"row 2: box_h is ''; a fraction"),
        (["7,images/7.jpg,1,A,.1,1.5,.1,.1"], r"row 2: box_y is '1\.5'"),
        (["7,images/7.jpg,1,A,nan,.1,.1,.1"], r"row 2: box_x is 'nan'"),
        (["7,images/7.jpg,1,A"], r"row 2: has 4 fields; the header has 8"),
        (["7,,1,A,.1,.1,.1,.1"], r"row 2: file is blank"),
        ([",images/7.jpg,1,A,.1,.1,.1,.1"], r"row 2: slice is blank"),
        (['7,"images/7.jpg,1,A,.1,.1,.1,.1'], r"not readable as a UTF-8 table"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read_entries(write_table(tmp_path, *rows), ["images/7.jpg"])


@pytest.mark.parametrize(
    "header", ["", "slice,file,label", HEADER + ",extra", HEADER.replace("pid", "patient")]
)
def test_other_columns_are_refused_naming_the_right_ones(tmp_path: Path, header: str) -> None:
    with pytest.raises(SourceError, match="needed are slice, file, label, pid, box_x, box_y, box_w, box_h"):
        read_entries(write_table(tmp_path, ROW, header=header), ["images/7.jpg"])


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slices.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="not readable as a UTF-8 table"):
        read_entries(tmp_path, ["images/7.jpg"])


def test_a_folder_that_nothing_describes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"neither \.mat files nor slices\.csv"):
        read_entries(tmp_path, ["images/7.jpg"])
    (tmp_path / "elsewhere.csv").write_text(f"{HEADER}\n{ROW}\n")
    (tmp_path / "slices.csv").symlink_to("elsewhere.csv")
    with pytest.raises(SourceError, match="neither"):
        read_entries(tmp_path, ["images/7.jpg"])


# --- MATLAB files ---


def test_a_matlab_file_that_no_row_lists_describes_itself(tmp_path: Path) -> None:
    assert read_entries(tmp_path, ["a/17.MAT"]) == {"a/17.MAT": Entry(slice="17", inside=True)}


def test_a_matlab_file_describes_its_slice(make_matlab) -> None:
    mask = np.zeros((6, 10), np.uint8)  # stored: 6 columns, 10 rows
    mask[1:3, 4:9] = 1
    entry = describe_slice(make_matlab(2, "MR029209E", tumorMask=mask))
    assert (entry.label, entry.patient, entry.reason) == ("2", "MR029209E", None)
    assert entry.box == pytest.approx((2 / 6, 6.5 / 10, 2 / 6, 5 / 10))


def test_the_outline_gives_the_box_where_there_is_no_mask(make_matlab) -> None:
    border = np.array([[2.0], [5.0], [3.0], [9.0], [2.0], [7.0]])  # x, y, x, y, x, y; the same box as above
    entry = describe_slice(make_matlab(tumorBorder=border))
    assert entry.box == pytest.approx((2 / 6, 6.5 / 10, 2 / 6, 5 / 10))


def test_mask_and_outline_may_both_be_missing(make_matlab) -> None:
    assert describe_slice(make_matlab(3, None)) == Entry("3")


def test_both_layouts_may_lie_in_one_folder(tmp_path: Path) -> None:
    entries = read_entries(write_table(tmp_path, ROW), ["17.mat", "images/7.jpg"])
    assert (entries["17.mat"].inside, entries["images/7.jpg"].patient) == (True, "100360")


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"label": None}, "unlabelled", "cjdata/label is missing"),
        ({"label": 1.5}, "corrupt", "one whole number is needed"),
        ({"label": float("nan")}, "corrupt", "one whole number"),
        ({"label": float("inf")}, "corrupt", "one whole number"),
        ({"pid": "A\x00B"}, "corrupt", "cjdata/PID is no text"),
        ({"pid": "A" * 65}, "too_large", "cjdata/PID"),
        ({"tumorMask": np.ones((5, 5))}, "corrupt", "cjdata/tumorMask has shape"),
        ({"image": np.zeros(4), "tumorMask": np.ones(4)}, "corrupt", "two sides are needed"),
        ({"tumorMask": np.array([b"mask"])}, "corrupt", "no numbers"),
    ],
)
def test_a_broken_matlab_file_is_set_aside_with_the_field(
    make_matlab, fields: dict, reason: str, detail: str
) -> None:
    entry = describe_slice(make_matlab(**fields))
    assert (entry.label, entry.reason) == (None, reason)
    assert detail in str(entry.detail)


@pytest.mark.parametrize("data", [b"", b"no matlab at all", b"\x89HDF\r\n\x1a\n" + b"\xff" * 600])
def test_other_bytes_named_mat_are_corrupt(data: bytes) -> None:
    entry = describe_slice(data)
    assert entry.reason == "corrupt"
    assert "not readable as MATLAB v7.3" in str(entry.detail)


# --- boxes ---


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_mask_and_outline_agree_on_rectangles(width: int, height: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left, width - 1)), data.draw(st.integers(top, height - 1))
    mask = np.zeros((height, width), bool)
    mask[top : bottom + 1, left : right + 1] = True
    box = find_box(mask)
    assert box is not None
    outline = [left + 1, top + 1, right + 1, bottom + 1]  # MATLAB counts from 1
    assert find_outline_box(np.array(outline), width, height) == pytest.approx(box)
    assert box == pytest.approx(
        (
            (left + right + 1) / 2 / width,
            (top + bottom + 1) / 2 / height,
            (right - left + 1) / width,
            (bottom - top + 1) / height,
        )
    )


def test_an_empty_mask_and_a_senseless_outline_give_no_box() -> None:
    assert find_box(np.zeros((4, 4))) is None
    for points in ([], [1.0], [1.0, 2.0, 3.0], [1.0, np.nan]):
        assert find_outline_box(np.array(points), 4, 4) is None


def test_an_outline_beyond_the_picture_is_cut_to_it() -> None:
    assert find_outline_box(np.array([-5.0, 2.0, 99.0, 2.0]), 10, 4) == pytest.approx((0.5, 0.375, 1.0, 0.25))
