"""DICOM: the first frame as a radiologist would see it, and a reason for everything else."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from pipeline.errors import DecodeError
from pipeline.imaging import decode, dicom
from pipeline.imaging.decode import decode_image, sniff_format, window_grey

MR = "1.2.840.10008.5.1.4.1.1.4"
DEEP = (np.add.outer(np.arange(12) * 130, np.arange(9) * 17) + 40).astype(np.uint16)  # [12, 9], 40 to 1606
FLAT = (DEEP >> 3).astype(np.uint8)


def write(
    frame: np.ndarray | bytes | None,
    syntax: str = ExplicitVRLittleEndian,
    *,
    samples: int = 1,
    **tags: object,
) -> bytes:
    """A DICOM file of numbers [height, width], of an encoded frame, or without pixel data."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        syntax,
        MR,
        "1.2.3",
    )
    stored = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    stored.SOPClassUID, stored.SOPInstanceUID, stored.PatientName = MR, "1.2.3", "nobody"
    if frame is not None:
        stored.SamplesPerPixel = samples
        stored.PhotometricInterpretation = "MONOCHROME2"
        stored.BitsAllocated, stored.PixelRepresentation = 8, 0
    if isinstance(frame, np.ndarray):
        stored.Rows, stored.Columns = frame.shape[-2:] if samples == 1 else frame.shape[:2]
        stored.BitsAllocated = frame.dtype.itemsize * 8
        stored.PixelRepresentation = int(frame.dtype.kind == "i")
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        data = frame.astype(frame.dtype.newbyteorder(order)).tobytes()
        stored.PixelData = data + b"\0" * (len(data) % 2)
    elif frame is not None:
        stored.PixelData = encapsulate([frame])
        stored["PixelData"].is_undefined_length = True
    for name, value in tags.items():
        setattr(stored, name, value)
    if frame is not None:
        stored["PixelData"].VR = "OW" if stored.BitsAllocated > 8 else "OB"
        stored.BitsStored = tags.get("BitsStored", stored.BitsAllocated)
        stored.HighBit = stored.BitsStored - 1
    if samples == 3:
        stored.PlanarConfiguration = 0
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, stored, enforce_file_format=True)
    return stream.getvalue()


def compress(frame: np.ndarray) -> bytes:
    stored = pydicom.dcmread(io.BytesIO(write(frame)))
    stored.compress(RLELossless, generate_instance_uid=False)
    stream = io.BytesIO()
    stored.save_as(stream)
    return stream.getvalue()


def jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95)
    return stream.getvalue()


def show(data: bytes) -> list[list[int]]:
    return decode_image(data).pixels.tolist()


def refuse(data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_image(data)
    return caught.value


# --- how frames are stored ---


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("frame", [DEEP, DEEP.astype(np.int16) - 700, FLAT, DEEP.astype(np.uint32)])
def test_plain_frames_are_windowed_from_minimum_to_maximum(frame: np.ndarray, syntax: str) -> None:
    data = write(frame, syntax)
    assert sniff_format(data) == "DICOM"
    decoded = decode_image(data)
    assert decoded.pixels.tolist() == window_grey(frame).tolist()
    assert decoded.mode == f"MONOCHROME2;{frame.dtype.itemsize * 8}"
    assert (decoded.format, decoded.colour, decoded.jpeg) == ("DICOM", 0.0, None)
    assert decoded.pixels.flags.writeable


def test_run_lengths_give_the_same_pixels_as_plain_frames() -> None:
    assert show(compress(DEEP)) == show(write(DEEP))


def test_a_jpeg_frame_is_read() -> None:
    smooth = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))  # [16, 64]
    data = write(jpeg(Image.fromarray(smooth)), JPEGBaseline8Bit, Rows=16, Columns=64)
    assert np.abs(decode_image(data).pixels.astype(int) - window_grey(smooth)).max() <= 4


def test_of_several_frames_the_first_counts() -> None:
    frames = np.stack([DEEP, DEEP[::-1], DEEP * 0])
    assert show(write(frames, NumberOfFrames=3)) == show(write(DEEP))


def test_a_preamble_that_starts_as_a_tiff_is_dicom_all_the_same() -> None:
    assert show(b"II*\0" + write(DEEP)[4:]) == show(write(DEEP))


# --- what the numbers mean ---


def test_the_window_of_the_file_is_applied() -> None:
    frame = np.array([[0, 100, 150], [200, 201, 900]], np.uint16)
    # PS3.3, C.11.2.1.2.1: y = ((x - (150 - 0.5)) / (101 - 1) + 0.5) * 255
    expected = [[0, 1, 129], [255, 255, 255]]
    assert show(write(frame, WindowCenter=150, WindowWidth=101)) == expected
    assert show(write(frame, WindowCenter=[150, 9], WindowWidth=[101, 1])) == expected


@pytest.mark.parametrize(
    ("function", "centre", "width", "expected"),
    [
        ("LINEAR_EXACT", 150, 100, [0, 0, 128, 255]),
        ("SIGMOID", 150, 100, [1, 30, 128, 225]),
        ("LINEAR", 150, 1, [0, 0, 255, 255]),
    ],
)
def test_other_window_functions(function: str, centre: float, width: float, expected: list[int]) -> None:
    frame = np.array([[0, 100, 150, 200]], np.uint16)
    tags = {"VOILUTFunction": function, "WindowCenter": centre, "WindowWidth": width}
    assert show(write(frame, **tags)) == [expected]


def test_the_window_counts_after_slope_and_intercept() -> None:
    frame = np.array([[0, 100, 200]], np.uint16)
    tags = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 100, "WindowWidth": 401}
    assert show(write(frame, **tags)) == [[0, 128, 255]]  # -100, 100 and 300, of which 100 is the centre
    assert show(write(frame, **tags | {"RescaleIntercept": 0})) == [[64, 192, 255]]
    assert show(write(frame, RescaleSlope=-1, RescaleIntercept=5)) == [[255, 128, 0]]


def test_monochrome1_is_inverted() -> None:
    inverted = write(DEEP, PhotometricInterpretation="MONOCHROME1")
    assert (np.array(show(inverted)) == 255 - np.array(show(write(DEEP)))).all()
    assert decode_image(inverted).mode == "MONOCHROME1;16"


def test_colour_frames_become_grey_by_itu_r_601() -> None:
    frame = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)
    decoded = decode_image(write(frame, samples=3, PhotometricInterpretation="RGB"))
    assert decoded.pixels.tolist() == [[76, 150], [29, 9]]
    assert decoded.colour == 255 * 3 / 4


def test_palettes_are_looked_up() -> None:
    frame = np.array([[0, 1, 2]], np.uint8)
    tags: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        tags[f"{colour}PaletteColorLookupTableData"] = np.array([0, 130, 255], "<u2").__mul__(256).tobytes()
    assert show(write(frame, **tags)) == [[0, 130, 255]]


# --- refusals ---


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (write(None), "not_an_image", "no pixel data"),
        (write(DEEP)[:-200], "truncated", "less than expected"),
        (write(DEEP)[: write(DEEP).rfind(b"\xe0\x7f\x10\0")], "truncated", "ends before its pixel data"),
        (write(DEEP, DeflatedExplicitVRLittleEndian), "corrupt", "transfer syntax 1.2.840.10008.1.2.1.99"),
        (write(b"codestream", JPEG2000Lossless, Rows=4, Columns=4), "corrupt", "explicit little endian"),
        (write(DEEP, Rows=0), "corrupt", "9 × 0 pixels"),
        (write(DEEP, Rows=60_000, Columns=60_000), "too_large", "60000 × 60000 pixels; at most"),
        (write(DEEP, WindowCenter=9, WindowWidth=-4), "corrupt", "a window of width -4"),
        (write(DEEP, RescaleSlope="1e999"), "corrupt", "RescaleSlope is inf"),
        (write(DEEP, PhotometricInterpretation="HSV"), "corrupt", "neither grey nor RGB"),
        (write(b"no jpeg", JPEGBaseline8Bit, Rows=4, Columns=4), "corrupt", "DICOM: "),
    ],
)
def test_what_is_refused_says_why(data: bytes, reason: str, detail: str) -> None:
    error = refuse(data)
    assert (error.reason, detail in error.detail) == (reason, True), error.detail


def test_a_jpeg_of_another_size_than_stated_is_refused_before_it_is_decoded() -> None:
    frame = jpeg(Image.fromarray(FLAT))
    error = refuse(write(frame, JPEGBaseline8Bit, Rows=4000, Columns=4000))
    assert error.reason == "corrupt"
    assert "a JPEG of (9, 12), where (4000, 4000) is stated" in error.detail


def test_run_lengths_that_could_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MAX_RLE_BYTES", 100)
    assert refuse(compress(DEEP)).reason == "too_large"


def test_the_limit_of_pixels_is_that_of_all_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", DEEP.size)
    assert decode_image(write(DEEP)).pixels.size == DEEP.size
    monkeypatch.setattr(decode, "MAX_PIXELS", DEEP.size - 1)
    assert refuse(write(DEEP)).reason == "too_large"


def test_a_missing_pydicom_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError):
        decode_image(write(DEEP))


def test_pydicom_is_loaded_only_where_it_is_needed() -> None:
    code = "import sys, pipeline.imaging.decode; print('pydicom' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "False"
