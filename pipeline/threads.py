"""Threads: where we run one a core ourselves, a library's own would only get in their way."""

import contextlib
from collections.abc import Iterator

import cv2
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Let OpenCV and the matrix products of NumPy and SciPy work in the calling thread alone.

    On small images OpenCV's own threads cost a third more. Those of OpenBLAS keep a processor busy while they
    wait for each other: beside other work on two cores the search for copies took 2.2 times the processor
    time with them.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        cv2.setNumThreads(before)


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch work in the calling thread alone.

    On batches of a few images its threads mostly wait for each other, on a processor: degraded images took
    eight times as long with two of them on a busy machine of two cores.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
