"""Threads of libraries are set aside and come back, whatever happens."""

import cv2
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from pipeline.threads import one_thread_each, one_torch_thread


def test_opencv_gets_its_threads_back():
    before = cv2.getNumThreads()
    with pytest.raises(ValueError, match="broken"), one_thread_each():
        assert cv2.getNumThreads() == 1
        raise ValueError("broken")
    assert cv2.getNumThreads() == before


def count_blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_matrix_products_get_their_threads_back():
    with threadpool_limits(2, user_api="blas"):
        before = count_blas_threads()
        assert before and all(count == 2 for count in before)
        with pytest.raises(ValueError, match="broken"), one_thread_each():
            assert set(count_blas_threads()) == {1}
            raise ValueError("broken")
        assert count_blas_threads() == before


def test_torch_gets_its_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="broken"), one_torch_thread():
            assert torch.get_num_threads() == 1
            raise ValueError("broken")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
