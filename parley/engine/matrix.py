"""Matrices as the kernels of this machine want them, and what of their products is exact.

Large matrices on a CPU are packed once by oneDNN, as inductor does when it freezes a model: at the
few rows of decoding they are read up to twice as fast; in bfloat16 it pays at every size. A row's
product may differ in its last bits with the number of rows that are multiplied beside it. `row_floor`
finds by trial from how many rows on it does not; exact matrices are padded to so many. Found so far,
fp32: oneDNN, packed: from 1 or 2 rows on, on AVX-512, AVX2 and SSE; MKL: from 4 to 16 on AVX-512, on
AVX2 often nowhere. bfloat16 on AMX: nowhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PACKED_FROM: Final = 1 << 18  # fp32 entries; the call of a packed product takes 12 µs longer
FEW_ROWS: Final = 4  # beyond, products of int8 weights are slower than those of bfloat16
MOST_ROWS: Final = 256  # in one exact product
FLOORS: Final = (1, 2, 4, 8, 16, 32, 64, 128, MOST_ROWS)
PROBES: Final = (1, 2, 3, 4, 5, 8, 13, 16, 17, 32, 33, 64, 100, 129, 192)
STREAMED: Final = 1 << 23  # entries that are tried on
TRIALS: Final = 5
LOW: Final = 16  # padding to so many rows costs little
ANY: Final = 0
INT8: Final = 127.0
TINY: Final = 1e-12  # the scale of a row of zeros


class Matrix:
    """`x W^T` for a weight that does not change; in `dtype`, products too.

    int8 is for the weight alone, a scale a row, beside bfloat16. It is never exact.
    """

    def __init__(self, weight: Float[Tensor, "N K"], dtype: torch.dtype, *, exact: bool) -> None:
        outputs, inputs = weight.shape
        machine = (weight.device, torch.get_num_threads())
        packed, self._floor = packs(weight, dtype), ANY
        if exact and dtype is torch.int8:
            raise ValueError("products of int8 weights are not exact")
        if exact:
            packed, self._floor = exact_path(outputs, inputs, dtype, machine)
        self._product: Callable[[Tensor], Tensor]
        if dtype is torch.int8:
            self.dtype, self._product = torch.bfloat16, _Int8Product(weight.detach())
        else:
            self.dtype, self._product = dtype, _Product(weight.detach(), dtype, packed=packed)
        self._alone = self._product  # for a single row
        if packed and not exact and single_row_plain(outputs, inputs, dtype, machine):
            self._alone = _Product(weight.detach(), dtype, packed=False)

    def __call__(self, x: Float[Tensor, "M K"]) -> Tensor:
        """The products, in the matrix's dtype."""
        x = x.to(self.dtype)
        if self._floor == ANY:
            return self._alone(x) if len(x) == 1 else self._product(x)
        parts = x.chunk(-(-len(x) // MOST_ROWS))
        found = [self._product(_padded(part, self._floor))[: len(part)] for part in parts]
        return found[0] if len(found) == 1 else torch.cat(found)


class _Product:
    """The bare kernel, on a copy of the weight."""

    def __init__(self, weight: Tensor, dtype: torch.dtype, *, packed: bool) -> None:
        self._packed = packed
        if packed:
            self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.to(dtype), None)
        else:
            self._weight = weight.to(dtype, copy=True)

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed:
            found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, None, "none", [], "")
            return found
        return F.linear(x, self._weight)


class _Int8Product:
    """One byte an entry where few rows are multiplied: then a product is as fast as its weight is read.
    For more rows the same rounded numbers stand beside it in bfloat16."""

    def __init__(self, weight: Tensor) -> None:
        self._scales = (weight.abs().amax(1) / INT8).clamp(min=TINY).to(torch.bfloat16)
        scales = self._scales.float()[:, None]
        self._weight = (weight / scales).round().clamp(-INT8, INT8).to(torch.int8)
        rounded = self._weight * scales
        self._many = _Product(rounded, torch.bfloat16, packed=packs(rounded, torch.bfloat16))

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > FEW_ROWS:
            return self._many(x)
        return torch._weight_int8pack_mm(x, self._weight, self._scales)


def packs(weight: Tensor, dtype: torch.dtype) -> bool:
    """Whether packing pays: by size alone, so that the same run on the same machine stays the same."""
    large = dtype is not torch.float32 or weight.numel() >= PACKED_FROM
    return large and _can_pack(weight.device, dtype)


def _can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _padded(x: Tensor, rows: int) -> Tensor:
    return x if len(x) >= rows else F.pad(x, (0, 0, 0, rows - len(x)))


@cache
def single_row_plain(
    outputs: int, inputs: int, dtype: torch.dtype, machine: tuple[torch.device, int]
) -> bool:
    """Whether a single row is multiplied faster by the plain kernel than by the packed one: by trial,
    on matrices enough to stream from memory as a model's do. For fp32 outside of exact mode; what is
    low in precision learns, and must do the same on every start."""
    if dtype is not torch.float32:
        return False
    count = max(2, min(8, STREAMED // (outputs * inputs)))
    weights = [torch.randn(outputs, inputs, device=machine[0]) for _ in range(count)]
    x = torch.randn(1, inputs, device=machine[0])
    plain, packed = (
        _seconds([_Product(weight, dtype, packed=way) for weight in weights], x) for way in (False, True)
    )
    return plain < packed


def _seconds(products: Sequence[_Product], x: Tensor) -> float:
    """The shortest time that all of them took."""
    best = math.inf
    for _ in range(TRIALS):
        began = time.perf_counter()
        for product in products:
            product(x)
        best = min(best, time.perf_counter() - began)
    return best


@cache
def exact_path(
    outputs: int, inputs: int, dtype: torch.dtype, machine: tuple[torch.device, int]
) -> tuple[bool, int]:
    """Whether to pack a matrix of this shape, and from how many rows on its products are exact.

    `machine` is the device and the number of threads. The way that pays by size is taken if little
    padding makes it exact, otherwise the one that needs less.
    """
    weight = torch.empty(outputs, inputs, device=machine[0])
    ways = [True, False] if packs(weight, dtype) else [False, True]
    found = [
        (way, row_floor(weight, dtype, packed=way)) for way in ways if not way or _can_pack(machine[0], dtype)
    ]
    return next((way for way in found if way[1] <= LOW), min(found, key=lambda way: way[1]))


def row_floor(like: Tensor, dtype: torch.dtype, *, packed: bool) -> int:
    """From how many rows on a row's product hangs on nothing but the row, up to `MOST_ROWS`, for
    matrices of this shape and device.

    Which kernel runs hangs on shapes, not on numbers, so random ones tell. `MOST_ROWS` itself is
    always right: then every product has one shape.
    """
    generator = torch.Generator().manual_seed(sum(like.shape))
    weight = torch.randn(like.shape, generator=generator).to(like.device)
    x = torch.randn(MOST_ROWS, like.shape[1], generator=generator).to(like.device, dtype)
    product = _Product(weight, dtype, packed=packed)
    whole = product(x)
    wrong = [rows for rows in PROBES if not _same(product, x, whole, rows)]
    return next(floor for floor in FLOORS if floor > max(wrong, default=0))


def _same(product: _Product, x: Tensor, whole: Tensor, rows: int) -> bool:
    return torch.equal(product(x[:rows]), whole[:rows]) and torch.equal(product(x[-rows:]), whole[-rows:])
