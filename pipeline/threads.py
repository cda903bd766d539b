"""Threads: where we run one a core ourselves, a library's own would only get in their way."""

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Let OpenCV work in the calling thread alone; on small images its own threads cost a third more."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
