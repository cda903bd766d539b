"""`make app` over a real demo, in headless Chromium: upload, result, refusal, several models."""

import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import psutil
import pytest
from browser import open_browser
from harness import tiny_environment
from test_ui import CHROMIUM, free_port

from pipeline.phantoms.foreign import draw_foreign
from resources.settings import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("system"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: pages are not rendered"),
]
SCOPE = "Research software, not a medical device."


@contextmanager
def running_app(environment: dict[str, str], log: Path):
    """(process, address) of a running `make app`."""
    port = free_port()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "app"],
            cwd=ROOT,
            env=environment | {"FALX_APP_PORT": str(port), "FALX_MLFLOW_PORT": str(free_port())},
            stdout=stream,
            stderr=stream,
        )
    try:
        wait_until_served(process, port, log)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until_served(process: subprocess.Popen, port: int, log: Path) -> None:
    import urllib.request

    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def app(demo, tmp_path_factory):
    environment, home, _output = demo
    folder = tmp_path_factory.mktemp("app")
    (folder / "user").mkdir()
    (folder / "tmp").mkdir()
    own = {"HOME": str(folder / "user"), "TMPDIR": str(folder / "tmp"), "FALX_WORDS": "off"}
    with running_app(environment | own, folder / "log") as (process, address):
        yield process, address, home, folder


@pytest.fixture
def page(app, tmp_path):
    with open_browser(CHROMIUM, tmp_path / "profile") as one:
        one.open(app[1])
        one.wait("Models, side by side", "Nearest training pictures")
        yield one


def find_trained(home: Path) -> Path:
    """A raw file that `tiny` was trained on under `published`."""
    rows = pd.read_parquet(home / "lake" / "splits" / "published.parquet")
    mine = rows[(rows["split"] == "train") & (rows["collection"] == "masoudnickparvar")]
    (found,) = (home / "raw").glob(f"phantoms-*/masoudnickparvar/{mine['path'].iloc[len(mine) // 2]}")
    return found


def add_model(page, title: str) -> None:
    page.click('[data-testid="stMultiSelect"] input', css=True)
    page.click(title)
    page.evaluate("document.activeElement.blur()")


def test_an_example_is_answered_with_a_heat_map(page):
    text = page.wait("90 % set", "Grad-CAM", "Macro-F1", "Nearest training pictures")
    assert SCOPE in text
    assert "version 1" in text
    assert page.evaluate("document.querySelectorAll('[data-testid=stImage] img').length") >= 1


def test_the_scope_line_stays_when_the_page_is_scrolled(page):
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 1e6)")
    top = page.evaluate("document.querySelector('.falx-scope').getBoundingClientRect().top")
    seen = page.evaluate("document.elementFromPoint(innerWidth / 2, 10).className")
    assert (top, seen) == (0, "falx-scope")


def test_the_true_label_is_hidden_until_it_is_asked_for(page):
    assert "True label" not in page.text()
    page.click("Show the true label")
    page.wait("True label: ")


def test_an_upload_of_a_training_picture_says_so_mirrored_as_it_is(app, page, tmp_path):
    pixels = cv2.imread(str(find_trained(app[2])), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "mirrored.png"), np.ascontiguousarray(pixels[:, ::-1]))
    add_model(page, "tiny · published")
    page.wait("tiny · published")
    page.click("My own files")
    page.wait("JPEG, PNG or DICOM")
    page.upload(tmp_path / "mirrored.png")
    text = page.wait("This very picture was in the training data: masoudnickparvar/", "The same picture")
    assert "mirrored" in text
    assert SCOPE in text


def test_a_refusal_says_why_and_spoils_no_other_file(app, page, tmp_path):
    photo = draw_foreign("photograph", np.random.default_rng(3))
    (tmp_path / "photograph.jpg").write_bytes(photo)
    (tmp_path / "broken.png").write_bytes(b"no picture at all")
    shutil.copy(find_trained(app[2]), tmp_path / "slice.jpg")
    page.click("My own files")
    page.wait("JPEG, PNG or DICOM")
    page.upload(*(tmp_path / name for name in ("photograph.jpg", "broken.png", "slice.jpg")))
    text = page.wait("All files", "refused: foreign", "refused: not_an_image", "Refused: foreign")
    assert "looks like photograph" in text
    assert "slice.jpg" in text


def test_several_models_stand_side_by_side(page):
    for title in ("tiny · published", "tiny · stratified"):
        add_model(page, title)
        page.wait(title)
    text = page.wait("leaks included", "Optimism", "patients and pictures that training never saw")
    assert text.count("90 % set") >= 2


def test_a_narrow_screen_needs_no_scrolling_sideways(app, tmp_path):
    with open_browser(CHROMIUM, tmp_path / "profile", width=390, height=800) as narrow:
        narrow.open(app[1])
        narrow.wait("90 % set", "Nearest training pictures")
        wide = narrow.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth")
        assert wide <= 390


def test_nothing_that_is_uploaded_is_written_anywhere(app, page, tmp_path):
    _process, _address, home, folder = app
    noise = np.random.default_rng(1).integers(0, 256, (1600, 1600), np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), noise)
    data = (tmp_path / "large.png").read_bytes()
    assert len(data) > 2 << 20
    before = {*home.rglob("*"), *folder.rglob("*")}
    page.click("My own files")
    page.wait("JPEG, PNG or DICOM")
    page.upload(tmp_path / "large.png")
    page.wait("Refused: foreign")
    after = [path for path in (*home.rglob("*"), *folder.rglob("*")) if path.is_file()]
    marker = data[1 << 20 : (1 << 20) + 64]
    assert [path for path in after if marker in path.read_bytes()] == []
    new = [path for path in after if path not in before and "mlflow" not in path.parts]
    assert new == []


def test_one_interrupt_ends_all_that_it_started(demo, tmp_path):
    environment, _home, _output = demo
    with running_app(environment, tmp_path / "log") as (process, _address):
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        _gone, left = psutil.wait_procs(children, timeout=30)
        assert left == []


def test_without_a_model_the_page_says_what_to_run(tmp_path, tiny_catalog):
    environment = tiny_environment(tmp_path / "home", tiny_catalog)
    with (
        running_app(environment, tmp_path / "log") as (_process, address),
        open_browser(CHROMIUM, tmp_path / "profile") as page,
    ):
        page.open(address)
        text = page.wait("No model is registered yet", "make demo", "Look again")
        assert SCOPE in text
