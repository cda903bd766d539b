"""Random numbers as a function of (seed, position): no generator, no state, whole batches at once.

A draw depends on its own seed alone, so batch composition, worker count and resume change nothing. Words
come from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014); a pixel's word from the 32-bit finaliser
`lowbias32` (C. Wellons, hash-prospector), keyed by the two halves of a SplitMix64 word. Normals need only
integer arithmetic and a table, so that no device's mathematics library has a say in them.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

_WORD = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_QUANTILES = 1 << 16
# As many words at a time as keep a GPU busy.
_GPU_WORDS = 1 << 26


def draw_words(seeds: Sequence[int], count: int, *, stream: int = 0) -> NDArray[np.uint64]:
    """Draw `count` 64-bit words a seed: uint64 [n, count]; `stream` numbers independent sequences."""
    start = np.array([seed & _WORD for seed in seeds], dtype=np.uint64)
    start = _mix64(start + np.uint64(stream * _GOLDEN & _WORD)) if stream else start
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    return _mix64(start[:, None] + steps[None, :])


def draw_uniforms(seeds: Sequence[int], count: int, *, stream: int = 0) -> NDArray[np.float64]:
    """Draw `count` numbers in [0, 1) a seed: float64 [n, count], 53 random bits each."""
    words = draw_words(seeds, count, stream=stream) >> np.uint64(11)
    return words.astype(np.float64) * 2.0**-53


def draw_normals(
    seeds: Sequence[int], height: int, width: int, *, device: torch.device | str = "cpu", stream: int = 0
) -> torch.Tensor:
    """Draw one standard normal a pixel: float32 [n, 1, height, width].

    Inverse-transform sampling of 16-bit uniforms: 65,536 distinct values of mean 0 and standard deviation 1,
    none beyond 4.4.
    """
    device = torch.device(device)
    words = -(-height * width // 2)
    keys = draw_words(seeds, 1, stream=stream).view(np.uint32)
    if device.type == "cpu":
        normals = torch.from_numpy(_look_up_normals(keys, words))
    else:
        normals = _gather_normals(torch.from_numpy(keys.view(np.int32)).to(device), words)
    return normals[:, : height * width].reshape(len(seeds), 1, height, width)


def _look_up_normals(keys: NDArray[np.uint32], words: int) -> NDArray[np.float32]:
    """Two normals a word on the CPU: float32 [n, 2 * words]. OpenCV looks 16-bit ranks up as they lie."""
    table = _normal_table("cpu").numpy()[None]
    places = np.arange(words, dtype=np.uint32)
    normals = np.empty((len(keys), 2 * words), np.float32)
    word, shifted = np.empty((2, 1, words), np.uint32)
    for (low, high), row in zip(keys, normals, strict=True):
        np.bitwise_xor(places, low, out=word[0])
        _mix32_planes(word, shifted)
        word ^= high
        _mix32_planes(word, shifted)
        cv2.LUT(word.view(np.uint16), table, dst=row[None])
    return normals


def _gather_normals(keys: torch.Tensor, words: int) -> torch.Tensor:
    """The same on any device, all images at once; `keys` int32 [n, 2]."""
    table = _normal_table(str(keys.device))
    places = torch.arange(words, dtype=torch.int32, device=keys.device)
    normals = torch.empty((len(keys), 2 * words), device=keys.device)
    step = max(1, _GPU_WORDS // words)
    for first in range(0, len(keys), step):
        low, high = keys[first : first + step, :1], keys[first : first + step, 1:]
        word = _mix32(_mix32(places ^ low) ^ high)
        ranks = word.view(torch.int16).to(torch.int32).bitwise_and_(_QUANTILES - 1)
        normals[first : first + step] = torch.index_select(table, 0, ranks.view(-1)).view(ranks.shape)
    return normals


def _mix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _mix32_planes(words: NDArray[np.uint32], shifted: NDArray[np.uint32]) -> None:
    np.right_shift(words, 16, out=shifted)
    words ^= shifted
    words *= np.uint32(0x7FEB352D)
    np.right_shift(words, 15, out=shifted)
    words ^= shifted
    words *= np.uint32(0x846CA68B)
    np.right_shift(words, 16, out=shifted)
    words ^= shifted


def _mix32(words: torch.Tensor) -> torch.Tensor:
    # torch shifts int32 arithmetically: the mask makes the shift logical.
    words ^= (words >> 16) & 0xFFFF
    words *= 0x7FEB352D
    words ^= (words >> 15) & 0x1FFFF
    words *= 0x846CA68B - (1 << 32)
    words ^= (words >> 16) & 0xFFFF
    return words


@lru_cache(maxsize=8)
def _normal_table(device: str) -> torch.Tensor:
    values = ndtri((np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    values /= np.sqrt(np.mean(values**2))
    return torch.from_numpy(values.astype(np.float32)).to(device)
