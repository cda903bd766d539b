"""Any bytes give one grey picture or a known reason; each format and mode gives the pixels that it stores."""

import io
import random
import warnings
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFile, features

from pipeline.errors import DecodeError
from pipeline.imaging import decode
from pipeline.imaging.decode import (
    FORMATS,
    MAX_PIXELS,
    Decoded,
    decode_image,
    resize_grey,
    sniff_format,
    window_grey,
)
from pipeline.schemas import QUARANTINE_REASONS

GREY = (np.add.outer(np.arange(23) * 5, np.arange(17) * 3) % 256).astype(np.uint8)  # [23, 17]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encode_matlab(values: np.ndarray, *, userblock: int = 512, **options: object) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", userblock_size=userblock) as file:
        group = file.create_group("cjdata")
        group.create_dataset("image", data=values.T, **options)
        group.create_dataset("label", data=[[2.0]])
        group.create_dataset("PID", data=np.array([[ord(code)] for code in "MR1"], np.uint16))
    return stream.getvalue()


def animate(kind: str, **options: object) -> bytes:
    frames = [Image.fromarray(np.full((12, 10), value, np.uint8)) for value in (10, 90, 200)]
    return encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def encode_dicom(values: np.ndarray) -> bytes:
    """The least that is DICOM: pixels [height, width] uint8, explicit little endian."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        tag = group.to_bytes(2, "little") + number.to_bytes(2, "little") + kind
        length = len(value).to_bytes(4, "little") if kind in (b"OB", b"OW") else b""
        return tag + (b"\0\0" + length if length else len(value).to_bytes(2, "little")) + value

    def short(number: int, value: int) -> bytes:
        return element(0x28, number, b"US", value.to_bytes(2, "little"))

    height, width = values.shape
    pixels = values.tobytes()
    return b"".join(
        [
            b"\0" * 128 + b"DICM",
            element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0"),
            short(2, 1),
            element(0x28, 4, b"CS", b"MONOCHROME2 "),
            *(short(number, side) for number, side in ((0x10, height), (0x11, width))),
            *(short(number, bits) for number, bits in ((0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0))),
            element(0x7FE0, 0x10, b"OB", pixels + b"\0" * (len(pixels) % 2)),
        ]
    )


def make_samples() -> dict[str, bytes]:
    grey, colour = Image.fromarray(GREY), Image.fromarray(np.dstack([GREY, GREY[::-1], 255 - GREY]))
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(GREY.copy()))
    return {
        "jpeg": encode(grey, "JPEG"),
        "jpeg rgb": encode(colour, "JPEG", progressive=True),
        "jpeg cmyk": encode(colour.convert("CMYK"), "JPEG"),
        "png": encode(grey, "PNG"),
        "png rgba": encode(alpha, "PNG"),
        "png palette": encode(colour.quantize(16), "PNG", transparency=2),
        "png 16": encode(Image.fromarray(GREY.astype(np.uint16) * 257), "PNG"),
        "apng": animate("PNG"),
        "gif": encode(grey, "GIF"),
        "gif animated": animate("GIF"),
        "bmp": encode(colour, "BMP"),
        "bmp bits": encode(grey.convert("1"), "BMP"),
        "tiff": encode(grey, "TIFF"),
        "tiff lzw": encode(colour, "TIFF", compression="tiff_lzw"),
        "tiff float": encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"),
        "webp": encode(colour, "WEBP", lossless=True),
        "webp animated": animate("WEBP", lossless=True),
        "dicom": encode_dicom(GREY),
        "mat": encode_matlab(GREY.astype(np.int16)),
        "mat gzip": encode_matlab(GREY.astype(np.int16), compression="gzip"),
    }


SAMPLES = make_samples()


def refuse(data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_image(data, "sample")
    assert caught.value.reason in QUARANTINE_REASONS
    assert caught.value.detail
    return caught.value


# --- formats ---


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_decodes_to_writable_grey_pixels(name: str) -> None:
    decoded = decode_image(SAMPLES[name], name)
    assert isinstance(decoded, Decoded)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape in {GREY.shape, (12, 10)}
    assert decoded.pixels.flags.writeable
    assert decoded.pixels.flags.c_contiguous
    assert decoded.format in FORMATS
    assert decoded.format == sniff_format(SAMPLES[name])


def test_the_samples_cover_every_format() -> None:
    assert {decode_image(data).format for data in SAMPLES.values()} == set(FORMATS)
    assert features.check("webp"), "Pillow without WebP could not read every format that Falx names"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_lossless_formats_give_back_the_stored_pixels(kind: str) -> None:
    decoded = decode_image(encode(Image.fromarray(GREY), kind), "wrongly_named.jpg")
    assert (decoded.format, decoded.pixels.tolist()) == (kind, GREY.tolist())


def test_the_name_does_not_decide_the_format() -> None:
    assert decode_image(SAMPLES["png"], "scan.jpg").format == "PNG"
    assert decode_image(SAMPLES["mat"], "scan.png").format == "MAT"


def test_animations_give_their_first_frame() -> None:
    for name in ("apng", "gif animated", "webp animated"):
        assert np.unique(decode_image(SAMPLES[name]).pixels).tolist() == [10], name


def test_a_tiff_stack_gives_its_first_page() -> None:
    assert np.unique(decode_image(animate("TIFF")).pixels).tolist() == [10]


# --- modes ---


def test_colour_becomes_grey_by_itu_r_601() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    decoded = decode_image(encode(Image.fromarray(pixels), "PNG"))
    assert decoded.mode == "RGB"
    assert decoded.pixels.tolist() == [[76, 150, 29, 255]]


def test_transparency_is_laid_over_black() -> None:
    pixels = np.array([[[200, 200, 200, 255], [200, 200, 200, 0], [200, 200, 200, 128]]], np.uint8)
    for image in (Image.fromarray(pixels), Image.fromarray(pixels).convert("LA")):
        decoded = decode_image(encode(image, "PNG"))
        assert decoded.mode == image.mode
        assert decoded.pixels.tolist() == [[200, 0, 100]]


def test_a_transparent_palette_entry_is_black() -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode=None).convert("P")
    image.putpalette([10, 10, 10, 120, 120, 120, 250, 250, 250])
    assert decode_image(encode(image, "PNG")).pixels.tolist() == [[10, 120, 250]]
    assert decode_image(encode(image, "PNG", transparency=1)).pixels.tolist() == [[10, 0, 250]]
    assert decode_image(encode(image, "PNG", transparency=b"\xff\xff\x00")).pixels.tolist() == [[10, 120, 0]]


def test_a_transparent_grey_or_colour_is_black() -> None:
    grey = Image.fromarray(np.array([[7, 9]], np.uint8))
    assert decode_image(encode(grey, "PNG", transparency=9)).pixels.tolist() == [[7, 0]]
    colour = Image.fromarray(np.array([[[8, 8, 8], [9, 9, 9]]], np.uint8))
    assert decode_image(encode(colour, "PNG", transparency=(9, 9, 9))).pixels.tolist() == [[8, 0]]


def test_one_bit_pictures_are_black_and_white() -> None:
    bits = Image.fromarray(GREY > 60)
    assert decode_image(encode(bits, "PNG")).mode == "1"
    assert (decode_image(encode(bits, "PNG")).pixels == np.where(GREY > 60, 255, 0)).all()


def test_cmyk_without_ink_is_white() -> None:
    blank = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    decoded = decode_image(encode(blank, "JPEG"))
    assert decoded.mode == "CMYK"
    assert decoded.pixels.min() == 255


def test_lab_gives_its_lightness() -> None:
    image = Image.merge("LAB", [Image.fromarray(GREY)] * 3)
    assert decode_image(encode(image, "TIFF")).pixels.tolist() == GREY.tolist()


@pytest.mark.parametrize(("kind", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_more_than_eight_bits_are_windowed(kind: str, dtype: type) -> None:
    values = (GREY.astype(np.int64) * 40 + 1000).astype(dtype)
    decoded = decode_image(encode(Image.fromarray(values), kind))
    assert decoded.mode in {"I;16", "I"}
    assert decoded.pixels.tolist() == window_grey(values).tolist()
    assert (decoded.pixels.min(), decoded.pixels.max()) == (0, 255)


def test_floats_are_windowed_and_what_is_not_finite_is_black() -> None:
    values = np.array([[-1.5, 0.0, 1.5], [np.nan, np.inf, -np.inf]], np.float32)
    decoded = decode_image(encode(Image.fromarray(values), "TIFF"))
    assert (decoded.mode, decoded.pixels.tolist()) == ("F", [[0, 128, 255], [0, 0, 0]])


# --- colour and quantisation ---


def test_colour_is_the_mean_spread_of_red_green_and_blue() -> None:
    pixels = np.array([[[10, 200, 30], [7, 7, 7]], [[0, 0, 255], [90, 80, 85]]], np.uint8)
    assert decode_image(encode(Image.fromarray(pixels), "PNG")).colour == (190 + 0 + 255 + 10) / 4
    assert decode_image(encode(Image.fromarray(pixels).quantize(4), "PNG")).colour > 0
    assert decode_image(encode(Image.fromarray(pixels).convert("CMYK"), "TIFF")).colour > 0


def test_what_is_grey_has_no_colour_however_it_is_stored() -> None:
    grey = Image.fromarray(GREY)
    stored = [grey, grey.convert("RGB"), grey.convert("RGBA"), grey.quantize(256), grey.convert("1")]
    for image in stored:
        decoded = decode_image(encode(image, "PNG"))
        assert decoded.colour == 0
        assert decoded.pixels.tolist() == np.asarray(image.convert("L")).tolist()


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)), elements=st.integers(0, 255)
    )
)
def test_grey_is_pillows_whether_there_is_colour_or_not(pixels: np.ndarray) -> None:
    for values in (pixels, np.repeat(pixels[..., :1], 3, axis=2)):
        image = Image.fromarray(values)
        decoded = decode_image(encode(image, "PNG"))
        assert decoded.pixels.tolist() == np.asarray(image.convert("L")).tolist()
        spread = values.max(axis=2).astype(int) - values.min(axis=2)
        assert decoded.colour == pytest.approx(spread.mean(), abs=1e-6)


def test_pictures_that_pillow_keeps_in_pieces_are_read_too() -> None:
    image = Image.fromarray(np.add.outer(np.arange(2100), np.arange(2100)).astype(np.uint8)).convert("RGB")
    decoded = decode_image(encode(image, "PNG", compress_level=1))
    assert (decoded.pixels == np.asarray(image.convert("L"))).all()
    assert decoded.colour == 0


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_the_luminance_table_is_summed(mode: str, quality: int) -> None:
    data = encode(Image.fromarray(GREY).convert(mode), "JPEG", quality=quality)
    with Image.open(io.BytesIO(data)) as image:
        expected = sum(image.quantization[0])
    assert decode_image(data).jpeg == expected
    assert decode_image(SAMPLES["png"]).jpeg is None


# --- orientation ---

TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    decoded = decode_image(encode(Image.fromarray(GREY), kind, exif=exif, **options))
    expected = TURNS[orientation](GREY)
    assert decoded.pixels.shape == expected.shape
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= (3 if kind == "JPEG" else 0)


def test_broken_exif_leaves_the_pixels_as_they_are() -> None:
    data = encode(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09")
    assert decode_image(data).pixels.shape == GREY.shape


# --- MATLAB ---


@pytest.mark.parametrize("userblock", [0, 512])
def test_matlab_pictures_are_turned_back(userblock: int) -> None:
    values = GREY.astype(np.int16) * 9 - 300
    decoded = decode_image(encode_matlab(values, userblock=userblock))
    assert (decoded.format, decoded.mode) == ("MAT", "int16")
    assert decoded.pixels.tolist() == window_grey(values).tolist()
    assert decoded.pixels.shape == GREY.shape  # [height, width], though stored the other way round


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 5)])
def test_a_matlab_picture_needs_two_sides(shape: tuple[int, ...]) -> None:
    error = refuse(encode_matlab(np.zeros(shape)))
    assert error.reason == "corrupt"
    assert "two sides" in error.detail


# --- refusals ---


def test_no_bytes_are_empty() -> None:
    assert refuse(b"").reason == "empty"


@pytest.mark.parametrize(
    "data",
    [
        b"slice,label\n1,2\n",
        b"PK\x03\x04zip",
        b"BMI of 23 patients, by year",
        b"\x00" * 600,
        b"RIFF....WAVEfmt ",
    ],
)
def test_other_files_are_no_images_and_the_detail_says_what_is_read(data: bytes) -> None:
    error = refuse(data)
    assert error.reason == "not_an_image"
    assert "JPEG, PNG, GIF, BMP, TIFF, WEBP, DICOM and MATLAB v7.3" in error.detail


LZW_BITS = 13 + 3 * 2 ** ((SAMPLES["gif"][10] & 7) + 1) + 10  # behind screen, palette and descriptor
ANIMATIONS = {"apng", "gif animated", "webp animated"}


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - ANIMATIONS))
def test_half_a_file_is_truncated(name: str) -> None:
    data = SAMPLES[name]
    assert refuse(data[: len(data) // 2]).reason == "truncated"


@pytest.mark.parametrize("name", ["apng", "gif animated"])
def test_an_animation_cut_behind_its_first_frame_still_shows_it(name: str) -> None:
    data = SAMPLES[name]
    assert np.unique(decode_image(data[: len(data) // 2]).pixels).tolist() == [10]
    assert refuse(data[:40]).reason == "truncated"


@pytest.mark.parametrize(
    ("name", "start", "stop"),
    [
        ("jpeg", 4, 60),
        ("png", 45, 55),
        ("png", 30, 31),
        ("gif", LZW_BITS, LZW_BITS + 1),
        ("bmp", 20, 40),
        ("webp", 26, 60),
        ("mat gzip", -2600, -300),
    ],
)
def test_a_whole_file_with_garbled_bytes_is_corrupt(name: str, start: int, stop: int) -> None:
    data = bytearray(SAMPLES[name])
    data[start:stop] = b"\xa5" * len(data[start:stop])
    assert refuse(bytes(data)).reason == "corrupt"


def test_trailing_bytes_do_no_harm() -> None:
    for name in ("jpeg", "png", "gif", "bmp"):
        expected = decode_image(SAMPLES[name]).pixels
        assert (decode_image(SAMPLES[name] + b"\0" * 100).pixels == expected).all()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0d" + body + zlib.crc32(body).to_bytes(4, "big")


def huge(kind: str, side: int) -> bytes:
    """A small file whose header claims side × side pixels."""
    if kind == "PNG":
        return png_header(side, side) + SAMPLES["png"][33:]
    if kind == "GIF":
        screen = side.to_bytes(2, "little") * 2
        return b"GIF89a" + screen + b"\0\0\0," + b"\0" * 4 + screen + b"\0\x08\0;"
    if kind == "BMP":
        data = bytearray(SAMPLES["bmp"])
        data[18:26] = side.to_bytes(4, "little") * 2
        return bytes(data)
    if kind == "WEBP":
        data = bytearray(SAMPLES["webp animated"])
        data[24:30] = (side - 1).to_bytes(3, "little") * 2
        return bytes(data)
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("cjdata/image", shape=(side, side), dtype="u1", chunks=(64, 64))
    return stream.getvalue()


@pytest.mark.parametrize("side", [8001, 10_000, 16_000, 60_000])
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "MAT"])
def test_too_many_pixels_are_refused_from_the_header(kind: str, side: int) -> None:
    assert side * side > MAX_PIXELS
    data = huge(kind, side)
    assert len(data) < 10_000
    assert refuse(data).reason == "too_large"


@pytest.mark.parametrize("chunk", ["VP8 ", "VP8L"])
def test_still_webp_headers_are_measured(chunk: str) -> None:
    image = Image.fromarray(np.dstack([GREY] * 3))
    data = bytearray(encode(image, "WEBP", lossless=chunk == "VP8L"))
    assert data[12:16] == chunk.encode()
    if chunk == "VP8 ":
        data[26:30] = (16_000).to_bytes(2, "little") * 2
    else:
        data[21:25] = (15_999 | 15_999 << 14).to_bytes(4, "little")
    assert refuse(bytes(data)).reason == "too_large"


def test_the_largest_allowed_picture_is_not_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", GREY.size)
    assert decode_image(SAMPLES["png"]).pixels.size == GREY.size
    monkeypatch.setattr(decode, "MAX_PIXELS", GREY.size - 1)
    assert refuse(SAMPLES["png"]).reason == "too_large"


def test_a_picture_without_pixels_is_corrupt() -> None:
    assert refuse(png_header(0, 5) + SAMPLES["png"][33:]).reason == "corrupt"


def test_pillows_own_state_is_left_alone() -> None:
    limit = Image.MAX_IMAGE_PIXELS
    for data in [*SAMPLES.values(), huge("PNG", 60_000), SAMPLES["jpeg"][:-40]]:
        outcome(data)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# --- any bytes ---


def mutate(data: bytes, dice: random.Random) -> bytes:
    found = bytearray(data)
    kind = dice.random()
    if kind < 0.15:
        return bytes(found[: dice.randrange(len(found))])
    if kind < 0.25:
        start = dice.randrange(len(found))
        del found[start : start + dice.randrange(1, 64)]
        return bytes(found)
    for _ in range(dice.choice([1, 1, 2, 4, 16])):
        place = dice.randrange(len(found) if dice.random() < 0.5 else min(len(found), 120))
        found[place] = dice.choice([0, 255, dice.randrange(256), found[place] ^ 1 << dice.randrange(8)])
    return bytes(found)


def outcome(data: bytes) -> str:
    try:
        decoded = decode_image(data)
    except DecodeError as error:
        assert error.reason in QUARANTINE_REASONS
        return f"{error.reason}: {error.detail}"
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.ndim == 2
    assert 0 < decoded.pixels.size <= MAX_PIXELS
    return f"{decoded.pixels.shape} {zlib.crc32(decoded.pixels)}"


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_mutated_bytes_decode_or_give_a_reason_and_always_the_same(name: str, seed: int) -> None:
    data = mutate(SAMPLES[name], random.Random(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's TIFF reader remarks on odd tags
        assert outcome(data) == outcome(data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([data[:16] for data in SAMPLES.values()] + [b""]), st.binary(max_size=300))
def test_random_bytes_behind_a_real_start_never_crash(start: bytes, rest: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome(start + rest)


# --- windowing and resizing ---


@given(
    arrays.arrays(
        st.sampled_from([np.int16, np.uint16, np.int64, np.float32, np.float64]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_windowing_keeps_the_order_and_spans_the_range(values: np.ndarray) -> None:
    windowed = window_grey(values)
    finite = np.isfinite(values.astype(np.float64))
    numbers = values.astype(np.float64)[finite]
    assert (windowed[~finite] == 0).all()
    if numbers.size and numbers.min() < numbers.max():
        assert (windowed[finite].min(), windowed[finite].max()) == (0, 255)
        assert (np.diff(windowed[finite][np.argsort(numbers, kind="stable")].astype(int)) >= 0).all()
    else:
        assert not windowed.any()


@given(
    arrays.arrays(
        st.sampled_from([np.int8, np.int16, np.uint16, ">i2"]),
        arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_windowing_does_not_depend_on_the_number_type(values: np.ndarray) -> None:
    assert (window_grey(values) == window_grey(values.astype(np.float64))).all()


@settings(deadline=None)
@given(
    arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    st.integers(1, 40),
)
def test_resizing_gives_the_size_and_stays_within_the_values(pixels: np.ndarray, size: int) -> None:
    resized = resize_grey(pixels, size)
    assert (resized.shape, resized.dtype) == ((size, size), np.uint8)
    assert pixels.min() <= resized.min()
    assert resized.max() <= pixels.max()
    if pixels.shape == (size, size):
        assert (resized == pixels).all()


def test_shrinking_averages_areas() -> None:
    board = np.kron(np.array([[0, 200], [100, 40]], np.uint8), np.ones((8, 8), np.uint8))
    assert resize_grey(board, 2).tolist() == [[0, 200], [100, 40]]
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 64))
    assert set(np.unique(resize_grey(stripes, 8))) <= {127, 128}


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([(4, 16), (8, 16), (4, 7)]))
def test_the_short_cut_for_powers_of_two_is_a_level_off_at_most(seed: int, shape: tuple[int, int]) -> None:
    times, size = shape
    pixels = np.random.default_rng(seed).integers(0, 256, (size * times, size * times), np.uint8)
    exact = pixels.reshape(size, times, size, times).mean(axis=(1, 3))
    assert np.abs(resize_grey(pixels, size) - exact).max() < 1.5


def test_a_side_that_shrinks_does_not_alias_where_the_other_grows() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (4, 64))  # [4, 128]
    assert set(np.unique(resize_grey(stripes, 16))) <= {127, 128}


def test_golden_pixels() -> None:
    """Pillow, OpenCV or our rules moved if these change: every cache and split would be made anew."""
    found = {
        name: zlib.crc32(resize_grey(decode_image(SAMPLES[name]).pixels, 8))
        for name in ("png", "mat", "tiff")
    }
    assert len(set(found.values())) == 2, "int16 values 0 to 158 are windowed, 8-bit values are not"
    assert found["png"] == zlib.crc32(resize_grey(GREY, 8))
    assert resize_grey(GREY, 4).tolist() == [
        [17, 30, 42, 55],
        [46, 58, 71, 84],
        [74, 87, 100, 112],
        [103, 116, 128, 141],
    ]
