"""Every file is counted once, whatever lies in the folders, however many workers look at it."""

import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.catalog import Collection, load_catalog
from pipeline.curation import scan
from pipeline.curation.inventory import (
    Inventory,
    check_accounts,
    list_images,
    list_quarantine,
    take_inventory,
)
from pipeline.digests import digest_bytes
from pipeline.errors import GateError, SourceError, TableError
from pipeline.imaging.decode import resize_grey
from pipeline.schemas import QUARANTINE_REASONS
from pipeline.tables import from_arrow, to_arrow


def draw(seed: int, side: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side + 4), np.uint8)


def encode(pixels: np.ndarray, kind: str = "PNG", mode: str = "L") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def make_collection(name: str, **changes: Any) -> Collection:
    fields: dict[str, Any] = {
        "name": name,
        "title": name,
        "description": "for tests",
        "source": {"manual": {"url": "https://example.org", "instructions": "none"}},
        "licence": {"stated": f"licence of {name}", "redistribute": "unknown"},
        "citation": "none",
        "layout": {
            "reader": "class_folders",
            "folders": [{"path": "Training", "split": "train"}, {"path": "Testing", "split": "test"}],
            "masks": "*_mask.png",
            "sidecars": ["README.txt"],
        },
        "labels": {"glioma": "glioma", "notumor": "no_tumor", "2": "glioma"},
    }
    return Collection.model_validate(fields | changes)


COLLECTIONS = {
    "web": make_collection("web"),
    "ward": make_collection(
        "ward", layout={"reader": "figshare", "sidecars": ["slices.csv"]}, reference=True
    ),
}
TABLE = (
    "slice,file,label,pid,box_x,box_y,box_w,box_h\n"
    "1,1.png,2,MR1,0.5,0.25,0.2,0.1\n2,2.png,2,MR1B,,,,\n3,3.png,2,7,,,,\n"
)
SHARED, WHOLE = encode(draw(1)), encode(draw(2))
WEB = {
    "Training/glioma/a.jpg": WHOLE,  # a PNG by content
    "Training/glioma/a again.jpg": WHOLE,
    "Testing/notumor/b.gif": encode(draw(3), "GIF"),
    "Testing/notumor/copy.png": SHARED,  # the reference calls it glioma
    "Training/glioma/rgb.bmp": encode(draw(4), "BMP", "RGB"),
    "Training/glioma/c_mask.png": encode(draw(5)),
    "Training/glioma/.d.png": WHOLE,
    "Training/.ipynb_checkpoints/glioma/e.png": WHOLE,
    "Training/glioma/f.png": b"",
    "Training/glioma/g.png": WHOLE[:200],
    "Training/glioma/h.png": WHOLE[:60] + b"\xa5" * 20 + WHOLE[80:],
    "Training/glioma/Thumbs.db": b"\xd0\xcf\x11\xe0 thumbnails",
    "Training/gliomas/i.png": encode(draw(6)),
    "Training/j.png": encode(draw(7)),
    "README.txt": b"read me",
}
WARD = {"slices.csv": TABLE.encode(), "1.png": SHARED, "2.png": encode(draw(8)), "3.png": b"", "4.png": WHOLE}


def write_tree(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    web = write_tree(tmp_path / "web", WEB)
    (web / "Training/glioma/link.png").symlink_to("a.jpg")
    os.mkfifo(web / "Training/glioma/pipe.png")
    return {"web": web, "ward": write_tree(tmp_path / "ward", WARD)}


def tables_of(inventory: Inventory) -> dict[str, pd.DataFrame]:
    quarantine = list_quarantine(inventory.files)
    images = list_images(inventory.files, references=["ward"])
    check_accounts(inventory.files, quarantine, images)
    return {
        "files": inventory.files,
        "records": inventory.records,
        "thumbnails": inventory.thumbnails,
        "looks": inventory.looks,
        "quarantine": quarantine,
        "images": images,
    }


def digest(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    found = {}
    for name, frame in tables.items():
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, to_arrow(name, frame).schema) as writer:
            writer.write_table(to_arrow(name, frame))
        found[name] = digest_bytes(sink.getvalue())
    return found


# --- the golden tree ---


def test_golden_quarantine(folders: dict[str, Path]) -> None:
    inventory = take_inventory(COLLECTIONS, folders, workers=2)
    found = {(row.collection, row.path): row.reason for row in list_quarantine(inventory.files).itertuples()}
    assert found == {
        ("ward", "3.png"): "empty",
        ("ward", "4.png"): "unlabelled",
        ("ward", "slices.csv"): "sidecar",
        ("web", "README.txt"): "sidecar",
        ("web", "Training/.ipynb_checkpoints/glioma/e.png"): "hidden",
        ("web", "Training/glioma/.d.png"): "hidden",
        ("web", "Training/glioma/Thumbs.db"): "not_an_image",
        ("web", "Training/glioma/c_mask.png"): "mask",
        ("web", "Training/glioma/f.png"): "empty",
        ("web", "Training/glioma/g.png"): "truncated",
        ("web", "Training/glioma/h.png"): "corrupt",
        ("web", "Training/glioma/link.png"): "link",
        ("web", "Training/glioma/pipe.png"): "unreadable",
        ("web", "Training/gliomas/i.png"): "unmapped_label",
        ("web", "Training/j.png"): "unlabelled",
    }
    assert set(found.values()) == set(QUARANTINE_REASONS) - {"too_large", "foreign", "removed"}
    assert len(inventory.files) == len(WEB) + len(WARD) + 2


def test_golden_files(folders: dict[str, Path]) -> None:
    files = take_inventory(COLLECTIONS, folders, workers=1).files.set_index(["collection", "path"])
    bitmap = files.loc[("web", "Training/glioma/rgb.bmp")]
    data = WEB["Training/glioma/rgb.bmp"]
    assert bitmap.drop(["reason", "detail"]).to_dict() == {
        "bytes": len(data),
        "md5": hashlib.md5(data).hexdigest(),
        "width": 24,
        "height": 20,
        "mode": "RGB",
        "format": "BMP",
        "published_split": "train",
        "published_label": "glioma",
        "label": "glioma",
        "licence": "licence of web",
    }
    assert files.loc[("web", "Training/glioma/a.jpg"), "format"] == "PNG"
    assert files.loc[("web", "Training/glioma/h.png"), ["width", "format"]].isna().all()
    assert files.loc[("web", "Training/glioma/c_mask.png"), "md5"] == hashlib.md5(encode(draw(5))).hexdigest()
    for path in ("Training/glioma/link.png", "Training/glioma/pipe.png"):
        assert pd.isna(files.loc[("web", path), "md5"])
        assert files.loc[("web", path), "bytes"] == 0


def test_golden_images_and_records(folders: dict[str, Path]) -> None:
    tables = tables_of(take_inventory(COLLECTIONS, folders, workers=2))
    images = tables["images"].set_index("image_id")
    assert len(images) == 5
    shared = images.loc[hashlib.md5(SHARED).hexdigest()]
    assert (shared.collection, shared.path, shared.label) == ("ward", "1.png", "glioma")
    assert shared.labels == ["glioma", "no_tumor"]
    assert [(member["collection"], member["path"]) for member in shared.members] == [
        ("ward", "1.png"),
        ("web", "Testing/notumor/copy.png"),
    ]
    assert [member["published_split"] for member in shared.members] == [None, "test"]
    twice = images.loc[hashlib.md5(WHOLE).hexdigest()]
    assert (twice.path, len(twice.members)) == ("Training/glioma/a again.jpg", 2)
    records = tables["records"].to_dict("records")
    assert [(row["path"], row["slice"], row["patient"]) for row in records] == [
        ("1.png", "1", "MR1"),
        ("2.png", "2", "MR1B"),
    ]
    assert (records[0]["box_x"], records[0]["box_h"]) == (0.5, 0.1)
    assert np.isnan(records[1]["box_x"])


def test_thumbnails_are_those_of_the_images(folders: dict[str, Path]) -> None:
    tables = tables_of(take_inventory(COLLECTIONS, folders, workers=2))
    assert tables["thumbnails"]["image_id"].tolist() == tables["images"]["image_id"].tolist()
    pixels = tables["thumbnails"].set_index("image_id")["pixels"]
    assert pixels[hashlib.md5(WHOLE).hexdigest()] == resize_grey(draw(2), 128).tobytes()
    assert set(pixels.map(len)) == {128 * 128}


# --- what may not matter ---


def test_workers_order_and_place_change_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=1)))
    assert digest(tables_of(take_inventory(COLLECTIONS, folders, workers=7))) == expected
    elsewhere = {}
    for name, files in (("ward", WARD), ("web", WEB)):
        shuffled = sorted(files.items(), key=lambda item: random.Random(item[0]).random())
        elsewhere[name] = write_tree(tmp_path / "elsewhere" / f"folder of {name}", dict(shuffled))
    (elsewhere["web"] / "Training/glioma/link.png").symlink_to("nowhere")
    os.mkfifo(elsewhere["web"] / "Training/glioma/pipe.png")
    (tmp_path / "alias").symlink_to(elsewhere["web"])
    elsewhere["web"] = tmp_path / "alias"
    assert digest(tables_of(take_inventory(COLLECTIONS, elsewhere, workers=2))) == expected


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_any_number_of_workers_gives_the_same_tables(folders: dict[str, Path], workers: int) -> None:
    write_tree(folders["ward"], {"slice.tif": encode(draw(9), "TIFF"), "5.mat": b"\x89HDF\r\n\x1a\n" * 90})
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=3)))
    assert digest(tables_of(take_inventory(COLLECTIONS, folders, workers=workers))) == expected


def test_names_in_any_script_are_kept(tmp_path: Path) -> None:
    names = [
        "срез",
        "切片",
        "شريحة",
        "חתך",
        "स्लाइस",
        "🧠",
        "e\u0301",
        "é",
        "a\tb",
        "-rf",
        "a b",
        "%41",
        "\u202egpj",
    ]
    files = {f"Training/glioma/{name}.png": encode(draw(seed)) for seed, name in enumerate(names)}
    inventory = take_inventory(COLLECTIONS, {"web": write_tree(tmp_path, files)}, workers=2)
    assert set(inventory.files["path"]) == set(files)
    assert inventory.files["reason"].isna().all()
    assert inventory.files["md5"].nunique() == len(names)


def test_files_that_change_or_vanish_meanwhile_are_set_aside(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, other = folders["web"] / "Training/glioma/a.jpg", folders["web"] / "Training/glioma/rgb.bmp"
    read = scan.read_whole

    def change(path: str) -> bytes:
        if Path(path) == gone:
            gone.unlink(missing_ok=True)
        if Path(path) == other:
            other.unlink(missing_ok=True)
            os.mkfifo(path)
        return read(path)

    monkeypatch.setattr(scan, "read_whole", change)
    files = take_inventory(COLLECTIONS, folders, workers=2).files.set_index(["collection", "path"])
    found = [files.loc[("web", path.relative_to(folders["web"]).as_posix())] for path in (gone, other)]
    assert [row["reason"] for row in found] == ["unreadable", "unreadable"]
    assert ["No such file" in found[0]["detail"], "a pipe" in found[1]["detail"]] == [True, True]
    assert [row["bytes"] for row in found] == [0, 0]


def test_thumbnails_are_the_frame_that_a_lake_would_give(folders: dict[str, Path]) -> None:
    for frame in (
        take_inventory(COLLECTIONS, folders, workers=1).thumbnails,
        take_inventory(COLLECTIONS, {}, workers=1).thumbnails,
    ):
        pd.testing.assert_frame_equal(frame, from_arrow("thumbnails", to_arrow("thumbnails", frame)))


def test_looks_and_thumbnails_are_of_the_same_images(folders: dict[str, Path]) -> None:
    inventory = take_inventory(COLLECTIONS, folders, workers=2)
    assert inventory.looks["image_id"].tolist() == inventory.thumbnails["image_id"].tolist()
    looks = inventory.looks.set_index("image_id").loc[hashlib.md5(WHOLE).hexdigest()]
    assert looks["brightness"] == pytest.approx(draw(2).mean(), abs=1e-6)
    assert pd.isna(looks["jpeg"])


def test_a_matlab_file_gives_picture_patient_and_box_from_one_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file["cjdata/image"] = draw(1).T.astype(np.int16)
        file["cjdata/label"] = [[2.0]]
        file["cjdata/PID"] = np.array([[ord(code)] for code in "MR7"], np.uint16)
        file["cjdata/tumorMask"] = (draw(1).T > 250).astype(np.uint8)
    read, seen = scan.read_whole, []
    monkeypatch.setattr(scan, "read_whole", lambda path: seen.append(Path(path).name) or read(path))
    collection = load_catalog().collections["cheng_figshare"]
    folder = write_tree(tmp_path, {"17.mat": stream.getvalue()})
    inventory = take_inventory({"cheng_figshare": collection}, {"cheng_figshare": folder}, workers=2)
    [row] = inventory.files.to_dict("records")
    assert (row["published_label"], row["label"], row["width"]) == ("2", "glioma", 24)
    [record] = inventory.records.to_dict("records")
    assert (record["slice"], record["patient"]) == ("17", "MR7")
    assert 0 < record["box_x"] < 1
    assert seen == ["17.mat"]


def test_the_same_bytes_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inspect, seen = scan.Guard.inspect, []

    def count(guard: scan.Guard, data: bytes, *, describe: bool) -> object:
        seen.append(data)
        return inspect(guard, data, describe=describe)

    monkeypatch.setattr(scan.Guard, "inspect", count)
    names = [f"Training/glioma/{number}.png" for number in range(40)]
    folder = write_tree(tmp_path, {name: encode(draw(int(name[-5]))) for name in names})
    inventory = take_inventory(COLLECTIONS, {"web": folder}, workers=6)
    assert len(seen) == len(set(seen)) == 10
    assert len(inventory.files) == 40
    assert inventory.files["reason"].isna().all()


def test_an_error_while_decoding_reaches_every_thread(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise SourceError("no process can be started")

    monkeypatch.setattr(scan.Guard, "inspect", fail)
    with pytest.raises(SourceError, match="no process can be started"):
        take_inventory(COLLECTIONS, folders, workers=4)


# --- what was read before ---


def forbid_reading(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    read = scan.read_whole

    def check(path: str) -> bytes:
        assert folder not in Path(path).parents, f"{path} was read again"
        return read(path)

    monkeypatch.setattr(scan, "read_whole", check)


def test_what_is_unchanged_is_not_read_again(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = take_inventory(COLLECTIONS, folders, workers=2)
    write_tree(folders["ward"], {"5.png": encode(draw(40)), "1.png": WHOLE})
    (folders["ward"] / "slices.csv").write_text(TABLE + "5,5.png,2,MR1,,,,\n")
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=2)))
    forbid_reading(monkeypatch, folders["web"])
    folders["web"] = tmp_path / "not even there"
    found = take_inventory(COLLECTIONS, folders, workers=2, previous=before, unchanged={"web"})
    assert digest(tables_of(found)) == expected
    for name, frame in vars(found).items():
        pd.testing.assert_frame_equal(frame, from_arrow(name, to_arrow(name, frame)))


def test_without_a_word_from_the_caller_everything_is_read(folders: dict[str, Path]) -> None:
    before = take_inventory(COLLECTIONS, folders, workers=2)
    write_tree(folders["web"], {"Training/glioma/new.png": encode(draw(41))})
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=2)))
    assert digest(tables_of(take_inventory(COLLECTIONS, folders, workers=2, previous=before))) == expected
    found = take_inventory(COLLECTIONS, folders, workers=2, previous=None, unchanged={"web", "ward"})
    assert digest(tables_of(found)) == expected


def test_a_collection_that_was_not_there_before_is_read(folders: dict[str, Path]) -> None:
    before = take_inventory(COLLECTIONS, {"ward": folders["ward"]}, workers=2)
    expected = digest(tables_of(take_inventory(COLLECTIONS, folders, workers=2)))
    found = take_inventory(COLLECTIONS, folders, workers=2, previous=before, unchanged={"ward", "web"})
    assert digest(tables_of(found)) == expected


@pytest.mark.parametrize("table", ["thumbnails", "looks"])
def test_an_inventory_that_lacks_an_image_is_not_used_again(folders: dict[str, Path], table: str) -> None:
    before = take_inventory(COLLECTIONS, folders, workers=2)
    broken = replace(before, **{table: getattr(before, table).iloc[1:]})
    with pytest.raises(
        TableError, match=rf"table '{table}' lacks 1 images that `files` lists, first \w+; mat"
    ):
        take_inventory(COLLECTIONS, folders, workers=2, previous=broken, unchanged={"web", "ward"})


NAMED = {name: make_collection(name) for name in ("one", "two", "three")}
Contents = dict[str, dict[str, int]]  # collection -> name -> seed of the picture; -1 is a broken file
contents = st.dictionaries(
    st.sampled_from(sorted(NAMED)), st.dictionaries(st.sampled_from("abc"), st.integers(-1, 3), max_size=3)
)


def write_contents(root: Path, found: Contents) -> dict[str, Path]:
    shutil.rmtree(root, ignore_errors=True)
    folders = {}
    for name, files in found.items():
        (root / name / "Training").mkdir(parents=True)
        data = {key: WHOLE[:90] if seed < 0 else encode(draw(seed)) for key, seed in files.items()}
        tree = {f"Training/glioma/{key}.png": value for key, value in data.items()}
        folders[name] = write_tree(root / name, tree)
    return folders


@settings(deadline=None, max_examples=25)
@given(contents, contents)
def test_any_change_gives_the_tables_of_a_full_scan(
    tmp_path_factory: pytest.TempPathFactory, old: Contents, new: Contents
) -> None:
    root = tmp_path_factory.mktemp("world")
    before = take_inventory(NAMED, write_contents(root, old), workers=1)
    folders = write_contents(root, new)
    unchanged = {name for name in new if old.get(name) == new[name]}
    found = take_inventory(NAMED, folders, workers=1, previous=before, unchanged=unchanged)
    full = take_inventory(NAMED, folders, workers=2)
    assert digest(vars(found)) == digest(vars(full))
    for name, frame in vars(found).items():
        pd.testing.assert_frame_equal(frame, getattr(full, name))


def test_a_collection_without_a_folder_is_left_out(folders: dict[str, Path]) -> None:
    del folders["web"]
    assert set(take_inventory(COLLECTIONS, folders, workers=1).files["collection"]) == {"ward"}


def test_no_folder_at_all_gives_empty_tables() -> None:
    tables = tables_of(take_inventory(COLLECTIONS, {}, workers=1))
    assert {name: len(frame) for name, frame in tables.items()} == dict.fromkeys(tables, 0)


def test_a_folder_of_an_unknown_collection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"unknown collections \['else'\]; known: web, ward"):
        take_inventory(COLLECTIONS, {"else": tmp_path}, workers=1)


def test_an_error_in_one_collection_is_raised_not_skipped(folders: dict[str, Path]) -> None:
    shutil.rmtree(folders["web"])
    with pytest.raises(SourceError, match=r"web: .* is no folder"):
        take_inventory(COLLECTIONS, folders, workers=1)


def test_a_broken_matlab_file_is_set_aside_by_what_its_bytes_say(tmp_path: Path) -> None:
    folder = write_tree(tmp_path, {"1.mat": b"", "2.mat": WHOLE, "3.mat": b"litter"})
    collection = load_catalog().collections["cheng_figshare"]
    files = take_inventory({"cheng_figshare": collection}, {"cheng_figshare": folder}, workers=1).files
    assert files["reason"].tolist() == ["empty", "corrupt", "not_an_image"]


def test_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys, pipeline.curation.inventory; "
        "heavy = ('torch', 'sklearn', 'matplotlib', 'dagster', 'mlflow'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# --- labels of images ---

Row = tuple[str, str, str, str]  # collection, path, content, label


def make_files(rows: list[Row]) -> pd.DataFrame:
    files = pd.DataFrame(rows, columns=["collection", "path", "md5", "label"])
    return files.assign(width=4, height=3, published_split=None, reason=None)


@pytest.mark.parametrize(
    ("rows", "label", "canonical"),
    [
        ([("b", "1", "x", "glioma"), ("c", "2", "x", "glioma")], "glioma", "b"),
        ([("b", "1", "x", "glioma"), ("c", "2", "x", "pituitary")], None, "b"),
        ([("b", "1", "x", "glioma"), ("r", "2", "x", "pituitary")], "pituitary", "r"),
        ([("r", "1", "x", "glioma"), ("r", "2", "x", "pituitary"), ("b", "1", "x", "glioma")], None, "r"),
        ([("r", "1", "x", "glioma"), ("s", "2", "x", "pituitary")], None, "r"),
    ],
)
def test_the_reference_decides_where_files_differ(rows: list[Row], label: str | None, canonical: str) -> None:
    [image] = list_images(make_files(rows), references=["s", "r"]).to_dict("records")
    assert (None if pd.isna(image["label"]) else image["label"]) == label
    assert image["labels"] == sorted({row[3] for row in rows})
    assert image["collection"] == canonical


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abr"),
            st.sampled_from("123"),
            st.sampled_from("xyz"),
            st.sampled_from(["glioma", "pituitary"]),
        ),
        unique_by=lambda row: row[:2],
    ),
    st.randoms(),
)
def test_images_account_for_every_member_in_any_order(rows: list[Row], dice: random.Random) -> None:
    images = list_images(make_files(rows), references=["r"])
    shuffled = rows.copy()
    dice.shuffle(shuffled)
    assert digest({"images": list_images(make_files(shuffled), references=["r"])}) == digest(
        {"images": images}
    )
    assert len(images) == len({row[2] for row in rows})
    assert sum(map(len, images["members"])) == len(rows)


# --- accounts ---


@pytest.fixture
def accounts(folders: dict[str, Path]) -> dict[str, pd.DataFrame]:
    return tables_of(take_inventory(COLLECTIONS, folders, workers=1))


def check(tables: Mapping[str, pd.DataFrame]) -> None:
    check_accounts(tables["files"], tables["quarantine"], tables["images"])


def repeat_first(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:1]], ignore_index=True)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("quarantine", lambda frame: frame.iloc[1:], r"1 in neither: ward/3\.png"),
        (
            "images",
            lambda frame: frame[frame["collection"] != "ward"],
            r"3 in neither: ward/1\.png, ward/2\.png, web/",
        ),
        ("files", lambda frame: frame.iloc[1:], r"1 not in files: ward/1\.png"),
        ("files", repeat_first, r"1 listed twice in files: ward/1\.png"),
        ("quarantine", repeat_first, r"1 set aside twice: ward/3\.png"),
        ("images", repeat_first, r"\d a member twice: w"),
        (
            "quarantine",
            lambda frame: frame.replace({"path": {"3.png": "1.png"}}),
            r"1 in neither: ward/3\.png; 1 set aside and a member: ward/1\.png",
        ),
        (
            "files",
            lambda frame: frame.iloc[:0],
            r"0 files, 15 in quarantine, 7 members.*22 not in files.*, …",
        ),
    ],
)
def test_accounts_that_do_not_balance_name_the_difference(
    accounts: dict[str, pd.DataFrame],
    table: str,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
) -> None:
    check(accounts)
    with pytest.raises(GateError, match=message):
        check(accounts | {table: change(accounts[table])})
