"""Heads and tumours: the surfaces nest, the tumours lie where their kind grows, slices repeat exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.labels import LABELS, TUMOURS, Label
from pipeline.phantoms.anatomy import SELLA, draw_head, measure_surfaces
from pipeline.phantoms.geometry import (
    Plane,
    Points,
    View,
    capsule,
    ellipsoid,
    inside,
    lay_points,
    place_pixels,
    step,
)
from pipeline.phantoms.patients import draw_slices
from pipeline.phantoms.scanner import SIZE, draw_scan, expose_slice
from pipeline.phantoms.textures import CELLS, open_volume, sample_slab
from pipeline.phantoms.tissues import TISSUES
from pipeline.phantoms.tumours import draw_tumour, push_points

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")


def at(x: float, y: float, z: float) -> Points:
    return Points(*(np.full((1, 1), value, np.float32) for value in (x, y, z)))


def test_ellipsoid_is_exact_on_its_surface_and_has_the_right_sign() -> None:
    centre, radii = (0.1, -0.2, 0.3), (0.5, 0.6, 0.7)
    for axis in range(3):
        on = list(centre)
        on[axis] += radii[axis]
        assert ellipsoid(at(*on), centre, radii)[0, 0] == pytest.approx(0, abs=1e-5)
    assert (
        ellipsoid(at(0.2, -0.2, 0.3), centre, radii)[0, 0] < 0 < ellipsoid(at(2, 0, 0), centre, radii)[0, 0]
    )


def test_capsule_measures_distance_to_a_rod() -> None:
    rod = ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.1, 0.2))
    assert capsule(at(0.5, 0, 0), *rod)[0, 0] == pytest.approx(0.4, abs=1e-6)
    assert capsule(at(0.5, 0, 1), *rod)[0, 0] == pytest.approx(0.3, abs=1e-6)
    assert capsule(at(0, 0, 2), *rod)[0, 0] == pytest.approx(0.8, abs=1e-6)


@given(st.floats(-3, 3))
def test_ramps_stay_between_nothing_and_all(value: float) -> None:
    field = np.full((1, 1), value, np.float32)
    assert 0 <= inside(field)[0, 0] <= 1
    assert 0 <= step(field, 0.2, 0.5)[0, 0] <= 1
    assert (inside(field)[0, 0] == 1) == (value <= -0.006) or abs(value + 0.006) < 1e-6


def test_planes_show_the_head_upright() -> None:
    for plane, pixel, wanted in (
        ("axial", (0, SIZE // 2), ("y", 1)),
        ("coronal", (0, SIZE // 2), ("z", 1)),
        ("sagittal", (SIZE // 2, 0), ("y", 1)),
        ("sagittal", (0, SIZE // 2), ("z", 1)),
    ):
        view = View(plane, 0.1)
        points = lay_points(view, *place_pixels(view, SIZE))
        assert np.sign(getattr(points, wanted[0])[pixel]) == wanted[1]


def test_noise_is_periodic_even_and_of_unit_deviation() -> None:
    volume = open_volume("fine")
    assert volume.shape == (CELLS, CELLS, CELLS)
    assert volume.std() == pytest.approx(1, abs=1e-4)
    across, down = np.meshgrid(*[np.linspace(0, 1, 200, endpoint=False, dtype=np.float32)] * 2)
    for depth in (0.0, 0.3125, 0.7):
        here = sample_slab("fine", depth, across, down)
        assert here.std() == pytest.approx(1, abs=0.25)
        assert np.allclose(here, sample_slab("fine", depth + 1, across + 1, down - 2), atol=0.02)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("seed", range(3))
def test_surfaces_nest(plane: Plane, seed: int) -> None:
    head = draw_head(np.random.default_rng(seed))
    view = View(plane, 0.1)
    s = measure_surfaces(head, view, lay_points(view, *place_pixels(view, SIZE)))
    for inner, outer in ((s.cerebrum, s.cavity), (s.cerebellum, s.cavity), (s.cavity, s.skin)):
        assert ((inner < 0) <= (outer < 0.03)).all()
    assert not ((s.cerebrum < 0) & (s.cerebellum < 0)).any()
    assert 0.05 < (s.cerebrum < 0).mean() < 0.6


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(TUMOURS))
def test_tumours_lie_where_their_kind_grows(seed: int, label: Label) -> None:
    rng = np.random.default_rng(seed)
    head = draw_head(rng)
    tumour = draw_tumour(label, head, rng)
    assert tumour is not None
    assert tumour.label == label
    x, y, z = tumour.centre
    reach = np.sqrt((x / head.inner[0]) ** 2 + (y / head.inner[1]) ** 2 + ((z - 0.05) / head.inner[2]) ** 2)
    assert reach < 1.05, "inside the skull"
    if label == "pituitary":
        assert abs(x) < 0.12
        assert np.hypot(y - SELLA[1], z - SELLA[2]) < 0.25
        assert tumour.radius < 0.25
    if label == "glioma":
        assert tumour.rough > 0.15
    if label == "meningioma":
        assert tumour.rough < 0.15


def test_no_tumour_has_no_tumour() -> None:
    rng = np.random.default_rng(0)
    assert draw_tumour("no_tumor", draw_head(rng), rng) is None
    points = at(0.1, 0.2, 0.3)
    assert push_points(points, None) is points


@pytest.mark.parametrize("label", LABELS)
def test_slices_show_their_tumour_and_repeat_exactly(label: Label) -> None:
    slices = draw_slices("somebody", label, seed=5, count=3)
    assert slices == draw_slices("somebody", label, seed=5, count=3)
    assert slices != draw_slices("somebody", label, seed=6, count=3)
    assert len({shown.picture for shown in slices}) == 3
    first = slices[0]
    exposures = [expose_slice(s.head, s.tumour, s.scan, s.view, s.seed) for s in (first, first)]
    assert np.array_equal(exposures[0].pixels, exposures[1].pixels)
    assert exposures[0].pixels.dtype == np.uint8
    assert (exposures[0].box is None) == (label == "no_tumor")
    assert exposures[0].mask.any() == (label != "no_tumor")


@pytest.mark.parametrize("label", TUMOURS)
def test_enhancing_tumours_differ_from_the_head_without_them(label: Label) -> None:
    shown = draw_slices("somebody else", label, seed=1, count=2)[0]
    quiet = replace(shown.scan, noise=0.0)
    with_it = expose_slice(shown.head, shown.tumour, quiet, shown.view, 0)
    without = expose_slice(shown.head, None, quiet, shown.view, 0)
    difference = np.abs(with_it.pixels.astype(int) - without.pixels)
    assert difference[with_it.mask].mean() > 10


def test_a_second_examination_shows_a_changed_tumour() -> None:
    slices = draw_slices("again", "glioma", seed=0, count=4, pids=("MR1", "MR1B"))
    first, second = (next(shown for shown in slices if shown.pid == pid) for pid in ("MR1", "MR1B"))
    assert first.head == second.head
    assert first.tumour is not None
    assert second.tumour is not None
    assert first.tumour.centre == second.tumour.centre
    assert abs(second.tumour.radius / first.tumour.radius - 1) > 0.05
    assert first.scan != second.scan


def test_every_sequence_knows_every_tissue() -> None:
    assert len({frozenset(tissues) for tissues in TISSUES.values()}) == 1
    assert all(0 <= value <= 1 for tissues in TISSUES.values() for value in tissues.values())
    rng = np.random.default_rng(0)
    assert {draw_scan(sequence, rng).sequence for sequence in TISSUES} == set(TISSUES)
