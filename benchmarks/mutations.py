"""Small pictures of every format, and ways to break their bytes; all of it a function of seeds."""

import io
import random
import struct
import zlib
from collections.abc import Callable

import h5py
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

SIZES = (0, 1, 2, 7, 255, 256, 4096, 8001, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What lengths and sides are set to: nothing, one, and around every limit of 8, 16 and 32 bits."""

JPEG_FRAME = 0xC0
NATIVE, BIG, IMPLICIT = (
    pydicom.uid.ExplicitVRLittleEndian,
    pydicom.uid.ExplicitVRBigEndian,
    "1.2.840.10008.1.2",
)
DICOM_CLASS = "1.2.840.10008.5.1.4.1.1.4"

Mutation = Callable[[bytearray, random.Random, list[bytes]], bytearray]


def draw_grey(height: int = 40, width: int = 36) -> NDArray[np.uint8]:
    """A picture with edges, ramps and noise, so that every coder has something to do."""
    ramp = np.add.outer(np.arange(height) * 5, np.arange(width) * 3)
    noise = np.random.default_rng(0).integers(0, 40, (height, width))
    return np.asarray((ramp + noise) % 256, np.uint8)


def make_samples() -> dict[str, list[bytes]]:
    """Format -> whole files of it, in the variants that real collections and converters write."""
    grey = draw_grey()
    return {
        "JPEG": _make_jpegs(grey),
        "PNG": _make_pngs(grey),
        "GIF": _make_gifs(grey),
        "TIFF": _make_tiffs(grey),
        "DICOM": _make_dicoms(grey),
        "MAT": _make_matlabs(grey),
    }


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def _colour(grey: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.dstack([grey, grey[::-1], 255 - grey]))


def _frames(grey: NDArray[np.uint8]) -> list[Image.Image]:
    return [Image.fromarray(np.roll(grey, shift, 0)) for shift in (0, 5, 11)]


def _make_jpegs(grey: NDArray[np.uint8]) -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    flat, colour = Image.fromarray(grey), _colour(grey)
    return [
        _save(flat, "JPEG", quality=90),
        _save(colour, "JPEG", progressive=True),
        _save(colour, "JPEG", exif=exif, restart_marker_blocks=3),
        _save(colour.convert("CMYK"), "JPEG"),
    ]


def _make_pngs(grey: NDArray[np.uint8]) -> list[bytes]:
    flat, colour = Image.fromarray(grey), _colour(grey)
    alpha = colour.copy()
    alpha.putalpha(flat)
    first, *rest = _frames(grey)
    return [
        _save(flat, "PNG"),
        _save(alpha, "PNG"),
        _save(colour.quantize(16), "PNG", transparency=2),
        _save(Image.fromarray(grey.astype(np.uint16) * 257), "PNG"),
        _save(first, "PNG", save_all=True, append_images=rest),
    ]


def _make_gifs(grey: NDArray[np.uint8]) -> list[bytes]:
    first, *rest = _frames(grey)
    return [
        _save(first, "GIF"),
        _save(first, "GIF", interlace=1, transparency=3),
        _save(first, "GIF", save_all=True, append_images=rest, loop=0),
    ]


def _make_tiffs(grey: NDArray[np.uint8]) -> list[bytes]:
    flat, colour = Image.fromarray(grey), _colour(grey)
    first, *rest = _frames(grey)
    deep = Image.fromarray(grey.astype(np.uint16) * 200)
    packings = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_lzma")
    return [
        _save(flat, "TIFF"),
        _save(deep, "TIFF"),
        _save(Image.fromarray(grey.astype(np.float32)), "TIFF"),
        _save(first, "TIFF", save_all=True, append_images=rest),
        _save(flat.convert("1"), "TIFF", compression="group4"),
        _save(flat, "TIFF", big_tiff=True),
        *(_save(colour, "TIFF", compression=packing) for packing in packings),
    ]


def make_dicom(frame: NDArray[np.generic] | bytes, syntax: str = NATIVE, **tags: object) -> bytes:
    """A DICOM file of numbers [height, width], or of an encoded frame whose sides `tags` give."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = DICOM_CLASS, "1.2.3"
    stored = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    stored.SOPClassUID, stored.SOPInstanceUID = DICOM_CLASS, "1.2.3"
    stored.SamplesPerPixel, stored.PhotometricInterpretation = 1, "MONOCHROME2"
    if isinstance(frame, bytes):
        stored.BitsAllocated, pixels = 8, encapsulate([frame])
    else:
        stored.Rows, stored.Columns = frame.shape[-2:]
        stored.BitsAllocated = frame.dtype.itemsize * 8
        stored.PixelRepresentation = int(frame.dtype.kind == "i")
        pixels = frame.astype(frame.dtype.newbyteorder(">" if syntax == BIG else "<")).tobytes()
    stored.PixelRepresentation = stored.get("PixelRepresentation", 0)
    for name, value in tags.items():
        setattr(stored, name, value)
    stored.BitsStored = stored.get("BitsStored", stored.BitsAllocated)
    stored.HighBit = stored.BitsStored - 1
    if "PixelData" not in tags:
        stored["PixelData"] = pydicom.DataElement(0x7FE00010, "OW", pixels)
        stored["PixelData"].is_undefined_length = isinstance(frame, bytes)
    if syntax == pydicom.uid.RLELossless:
        del stored.PixelData
        meta.TransferSyntaxUID = NATIVE
        stored.compress(syntax, np.asarray(frame), generate_instance_uid=False)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, stored, enforce_file_format=True)
    return stream.getvalue()


def _make_dicoms(grey: NDArray[np.uint8]) -> list[bytes]:
    deep = grey.astype(np.uint16) * 16
    height, width = grey.shape
    jpeg = _save(Image.fromarray(grey), "JPEG")
    return [
        make_dicom(grey),
        make_dicom(deep, IMPLICIT, WindowCenter=1000, WindowWidth=800),
        make_dicom(deep.astype(np.int16) - 500, BIG, RescaleSlope=2, RescaleIntercept=-10),
        make_dicom(grey, PhotometricInterpretation="MONOCHROME1"),
        make_dicom(np.stack([deep, deep]), NumberOfFrames=2),
        make_dicom(deep, pydicom.uid.RLELossless),
        make_dicom(jpeg, pydicom.uid.JPEGBaseline8Bit, Rows=height, Columns=width),
    ]


def make_matlab(values: NDArray[np.generic], **options: object) -> bytes:
    """A MATLAB v7.3 file as the reference collection's: `values` [height, width] stored across."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        group = file.create_group("cjdata")
        group.create_dataset("image", data=values.T, **options)
        group.create_dataset("tumorMask", data=(values.T > 200).astype(np.uint8), **options)
        group.create_dataset("tumorBorder", data=np.array([[4.0, 5.0, 20.0, 22.0]]))
        group.create_dataset("label", data=[[2.0]])
        group.create_dataset("PID", data=np.array([[ord(code)] for code in "MR029209E"], np.uint16))
    return stream.getvalue()


def _make_matlabs(grey: NDArray[np.uint8]) -> list[bytes]:
    deep = grey.astype(np.int16) * 9
    return [
        make_matlab(deep),
        make_matlab(deep, compression="gzip", chunks=(12, 20)),
        make_matlab(deep, compression="gzip", shuffle=True, fletcher32=True),
        make_matlab(deep, scaleoffset=0, chunks=(36, 10)),
    ]


# --- what is done to bytes, whatever their format ---


def flip_bits(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """One to sixteen bits, half of them among the first 256 bytes, where headers are."""
    for _turn in range(dice.choice((1, 1, 2, 4, 16))):
        data[_pick(data, dice)] ^= 1 << dice.randrange(8)
    return data


def set_bytes(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """One to eight bytes to 0, 255 or anything."""
    for _turn in range(dice.choice((1, 2, 8))):
        data[_pick(data, dice)] = dice.choice((0, 255, dice.randrange(256)))
    return data


def truncate(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """The end is missing."""
    return data[: dice.randrange(len(data))]


def remove_part(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A part in the middle is missing."""
    start = _pick(data, dice)
    del data[start : start + dice.randrange(1, 200)]
    return data


def repeat_part(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A part stands twice or many times."""
    start = _pick(data, dice)
    part = data[start : start + dice.randrange(1, 200)]
    return data[:start] + part * dice.choice((2, 2, 50)) + data[start + len(part) :]


def splice(data: bytearray, dice: random.Random, others: list[bytes]) -> bytearray:
    """The start of one file with the end of another."""
    other = dice.choice(others)
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


def overwrite_part(data: bytearray, dice: random.Random, others: list[bytes]) -> bytearray:
    """A part of another file, zeros or noise, written over."""
    other = dice.choice(others)
    start, length = _pick(data, dice), dice.randrange(1, 120)
    begin = dice.randrange(len(other))
    part = dice.choice((bytes(length), dice.randbytes(length), other[begin : begin + length]))
    data[start : start + len(part)] = part
    return data


def edit_number(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A 2-, 4- or 8-byte number anywhere set to a length or side that is nothing, one, or far too large."""
    size = dice.choice((2, 4, 8))
    start = _pick(data, dice)
    value = dice.choice((*SIZES, len(data))) & (256**size - 1)
    data[start : start + size] = value.to_bytes(size, dice.choice(("little", "big")))
    return data


ANY: tuple[Mutation, ...] = (
    flip_bits,
    set_bytes,
    truncate,
    remove_part,
    repeat_part,
    splice,
    overwrite_part,
    edit_number,
)


def _pick(data: bytearray, dice: random.Random) -> int:
    return dice.randrange(max(1, len(data) if dice.random() < 0.5 else min(len(data), 256)))


# --- what is done to the parts of a format ---


def edit_jpeg(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """Other sides in a frame header, or another length of a segment, or a segment twice."""
    segments = _find_segments(data)
    if not segments:
        return data
    start, length = dice.choice(segments)
    frames = [place for place, _length in segments if data[place + 1] & 0xFC == JPEG_FRAME]
    kind = dice.randrange(3)
    if kind == 0 and frames:
        struct.pack_into(">HH", data, frames[0] + 5, *(dice.choice(SIZES) & 0xFFFF for _side in range(2)))
    elif kind == 1:
        struct.pack_into(">H", data, start + 2, dice.choice((*SIZES, length - 1, length + 9)) & 0xFFFF)
    else:
        part = data[start : start + length + 2]
        data[start:start] = part * dice.choice((1, 1, 20))
    return data


def _find_segments(data: bytearray) -> list[tuple[int, int]]:
    segments, place = [], 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segments.append((place, length))
        place += 2 + length
    return segments


def edit_png(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A chunk changed under a right checksum, twice, elsewhere, or with another length."""
    chunks = _find_chunks(data)
    if not chunks:
        return data
    index = dice.randrange(len(chunks))
    name, body = chunks[index]
    kind = dice.randrange(5)
    if kind == 0:
        sides = (dice.choice(SIZES), dice.choice(SIZES))
        chunks[0] = (b"IHDR", struct.pack(">II", *sides) + chunks[0][1][8:])
    elif kind == 1 and body:
        changed = bytearray(body)
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
        chunks[index] = (name, bytes(changed))
    elif kind == 2:
        chunks[index:index] = [(name, body)] * dice.choice((1, 1, 30))
    elif kind == 3:
        dice.shuffle(chunks)
    else:
        chunks[index] = (name, body[: dice.randrange(len(body) + 1)] + dice.randbytes(dice.randrange(60)))
    return bytearray(b"\x89PNG\r\n\x1a\n" + b"".join(_pack_chunk(*chunk) for chunk in chunks))


def _find_chunks(data: bytearray) -> list[tuple[bytes, bytes]]:
    chunks, place = [], 8
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((bytes(data[place + 4 : place + 8]), bytes(data[place + 8 : place + 8 + length])))
        place += 12 + length
    return chunks


def _pack_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def edit_gif(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """Other sides of the screen or of a frame, or other block lengths."""
    frame = data.find(b",", 13)
    places = [6, 8, *((frame + 5, frame + 7) if frame > 0 else ())]
    for place in dice.sample(places, 2):
        if place + 2 <= len(data):
            struct.pack_into("<H", data, place, dice.choice(SIZES) & 0xFFFF)
    return data


def edit_tiff(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A directory entry with another tag, type, count or value; or the next directory points back."""
    if len(data) < 16 or data[2] != 42:
        return data
    order = "<" if data[:1] == b"I" else ">"
    start = struct.unpack_from(order + "I", data, 4)[0]
    if start + 2 > len(data):
        return data
    count = struct.unpack_from(order + "H", data, start)[0]
    entry = start + 2 + 12 * dice.randrange(max(count, 1))
    if entry + 16 > len(data):
        return data
    kind = dice.randrange(5)
    if kind == 0:
        struct.pack_into(
            order + "H", data, entry, dice.choice((256, 257, 258, 259, 262, 273, 277, 278, 279, 339))
        )
    elif kind == 1:
        struct.pack_into(order + "H", data, entry + 2, dice.randrange(20))
    elif kind == 2:
        struct.pack_into(order + "I", data, entry + 4, dice.choice(SIZES))
    elif kind == 3:
        struct.pack_into(
            order + "I", data, entry + 8, dice.choice((*SIZES, 3, 5, 8, 32773, 34712, len(data) - 2))
        )
    else:
        last = start + 2 + 12 * count
        if last + 4 <= len(data):
            struct.pack_into(order + "I", data, last, start)
    return data


_DICOM_NUMBERS = (b"\x28\0\x02\0", b"\x28\0\x10\0", b"\x28\0\x11\0", b"\x28\0\0\x01", b"\x28\0\x01\x01")


def edit_dicom(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """Other samples, rows, columns or bits; another length of an element; another transfer syntax."""
    place = data.find(dice.choice(_DICOM_NUMBERS), 132)
    kind = dice.randrange(3)
    if kind == 0 and 0 < place < len(data) - 10:
        struct.pack_into("<H", data, place + 8, dice.choice(SIZES) & 0xFFFF)
    elif kind == 1:
        pixels = data.find(b"\xe0\x7f\x10\0", 132)
        if 0 < pixels < len(data) - 12:
            struct.pack_into("<I", data, pixels + dice.choice((4, 8)), dice.choice(SIZES))
    else:
        uid = data.find(b"1.2.840.10008.1.2", 132)
        new = dice.choice((b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.2\0", b"1.2.840.10008.1.2.1.99"))
        if uid > 0:
            data[uid : uid + len(new)] = new
    return data


def edit_matlab(data: bytearray, dice: random.Random, _: list[bytes]) -> bytearray:
    """A number of the structures behind one of HDF5's signatures; a dimension far too large."""
    marks = (b"TREE", b"HEAP", b"SNOD", b"\x89HDF", (36).to_bytes(8, "little"), (40).to_bytes(8, "little"))
    places = [place for mark in marks for place in _find_all(data, mark)]
    if not places:
        return data
    place = dice.choice(places) + dice.choice((0, 4, 5, 6, 8, 16, 24, 32, 40))
    size = dice.choice((1, 2, 4, 8))
    data[place : place + size] = (dice.choice(SIZES) & (256**size - 1)).to_bytes(size, "little")
    return data


def _find_all(data: bytearray, mark: bytes) -> list[int]:
    places, place = [], data.find(mark)
    while place >= 0:
        places.append(place)
        place = data.find(mark, place + 1)
    return places


OWN: dict[str, Mutation] = {
    "JPEG": edit_jpeg,
    "PNG": edit_png,
    "GIF": edit_gif,
    "TIFF": edit_tiff,
    "DICOM": edit_dicom,
    "MAT": edit_matlab,
}


def mutate(kind: str, samples: dict[str, list[bytes]], seed: int) -> bytes:
    """One broken file of the format `kind`: one to three mutations of a sample, a third of them its own."""
    dice = random.Random(seed)
    data = bytearray(dice.choice(samples[kind]))
    others = dice.choice((samples[kind], [file for files in samples.values() for file in files]))
    for _turn in range(dice.choice((1, 1, 2, 3))):
        if not data:
            break
        change = OWN[kind] if dice.random() < 1 / 3 else dice.choice(ANY)
        try:
            data = change(data, dice, others)
        except struct.error:  # an earlier mutation left no room for this one
            continue
    return bytes(data)
