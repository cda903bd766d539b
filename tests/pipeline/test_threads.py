"""Threads of libraries are set aside and come back, whatever happens."""

import cv2
import pytest

from pipeline.threads import one_thread_each


def test_opencv_gets_its_threads_back():
    before = cv2.getNumThreads()
    with pytest.raises(ValueError, match="broken"), one_thread_each():
        assert cv2.getNumThreads() == 1
        raise ValueError("broken")
    assert cv2.getNumThreads() == before
