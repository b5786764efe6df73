"""Another processor's rounding, simulated: kernels whose last bit the processor decides give the neighbouring number.

    ROUNDING=1 make test ARGS="tests/conformance tests/contract"    # 2, 3, ...: other processors

Sums of products, reductions and transcendental functions are no operations of IEEE 754: their last bit depends on the
width of a register, the order of a sum, the polynomial that stands for `exp`. Here each of them has some of its results
moved by one unit in the last place, always alike for the same result, as a processor does. What is exact on every
processor stays: `+ - * /` and square roots, results that have few significant bits (counts, means of ones), and
those that are a number of an argument (sums of one term, products with one and zeros).
A test that fails under some seeds holds a number that one processor made.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_KERNELS = """
    mm addmm bmm baddbmm dot mv addmv _addmm_activation mkldnn_convolution
    _slow_conv2d_forward sum.dim_IntList mean.dim mean linalg_vector_norm norm.ScalarOpt_dim std.correction
    var.correction var_mean.correction cumsum prod exp expm1 log log1p log2 tanh sigmoid erf erfinv sin cos
    pow.Tensor_Scalar pow.Tensor_Tensor rsqrt gelu silu softplus _softmax _log_softmax _softmax_backward_data
    _log_softmax_backward_data
    native_batch_norm native_batch_norm_backward native_layer_norm native_layer_norm_backward
    tanh_backward sigmoid_backward _linalg_eigh _linalg_svd linalg_qr addcmul addcdiv
"""
"""Of the CPU; what is composed of them follows."""
WHOLE = {torch.float64: torch.int64, torch.float32: torch.int32}
WHOLE |= dict.fromkeys((torch.float16, torch.bfloat16), torch.int16)
"""The integers that hold the bits of a number."""
EXACT_BITS = {torch.float64: 0xFFFF, torch.float32: 0xFF, torch.float16: 0x7, torch.bfloat16: 0x3}
"""Last bits of the significand that are all zero in a result that is exact on every processor (most likely)."""

_REPLACED: list[torch.library.Library] = []


def moved(result: Tensor, seed: int) -> Tensor:
    """The same numbers, half of them moved by one unit in the last place, away from zero or towards it."""
    bits = result.contiguous().view(WHOLE[result.dtype])
    wide = bits.to(torch.int64)
    mixed = (wide + seed) * 0x9E3779B97F4A7C1 & 0x7FFFFFFFFFFFFFFF
    chosen = (mixed >> 40) & 3
    step = (chosen == 1).to(torch.int64) - (chosen == 2).to(torch.int64)
    inexact = (wide & EXACT_BITS[result.dtype] != 0) & result.isfinite()
    return (wide + step * inexact).to(bits.dtype).view(result.dtype)


def simulate() -> None:
    """Replaces the kernels of this process, if the environment names a processor."""
    seed = int(os.environ.get("ROUNDING", "0"))
    if seed and not _REPLACED:
        library = torch.library.Library("aten", "IMPL")
        _REPLACED.append(library)
        with warnings.catch_warnings(action="ignore"):  # torch tells that a kernel is replaced
            for name in _KERNELS.split():
                library.impl(name, _rounded(name, seed), "CPU", with_keyset=True, allow_override=True)


def _rounded(name: str, seed: int) -> Callable[..., Any]:
    base, _, overload = name.partition(".")
    kernel = torch.library.get_kernel(getattr(getattr(torch.ops.aten, base), overload or "default"), "CPU")

    def rounded(keys: Any, *arguments: Any, **options: Any) -> Any:
        result = kernel.call_boxed(keys, *arguments, **options)
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, Tensor) and part.dtype in WHOLE and part.numel():
                part.copy_(torch.where(_chosen(part, arguments), part, moved(part, seed)))
        return result

    return rounded


def _chosen(result: Tensor, arguments: tuple[Any, ...]) -> Tensor:
    """Which elements are numbers of an argument: sums of one term, products with one and zeros."""
    given = [each for each in arguments if isinstance(each, Tensor)]
    return torch.stack([torch.isin(result.contiguous(), each.contiguous()) for each in given]).any(0)
