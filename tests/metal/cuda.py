"""The bodies of our Metal kernels as CUDA kernels, to run them on a GPU where one is at hand.

Metal's words become macros or functions of the same name; the text stays as it is, but for arrays
of a threadgroup, which CUDA calls shared. Metal runs no threads beyond a grid; here they return.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import mlx.core as mx

from lfm2audio_mlx.kernels.metal import Grid, Kernel, Outputs, Template

__all__ = ["cuda_body", "cuda_header", "on_cuda"]

LANGUAGE = """
#define device
#define thread
#define constant
#define threadgroup
#define uint2(x, y) make_uint2(x, y)
#define INFINITY (__int_as_float(0x7f800000))
#define thread_position_in_threadgroup threadIdx
#define threadgroup_position_in_grid blockIdx
#define threads_per_threadgroup blockDim
#define threadgroups_per_grid gridDim
#define thread_position_in_grid make_uint3(blockIdx.x * blockDim.x + threadIdx.x, \\
    blockIdx.y * blockDim.y + threadIdx.y, blockIdx.z * blockDim.z + threadIdx.z)
#define threads_per_grid make_uint3(GRID_X, GRID_Y, GRID_Z)
#define thread_index_in_threadgroup \\
  (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z))
#define thread_index_in_simdgroup (thread_index_in_threadgroup % 32)
#define simdgroup_index_in_threadgroup (thread_index_in_threadgroup / 32)
#define simdgroups_per_threadgroup ((blockDim.x * blockDim.y * blockDim.z + 31) / 32)
typedef unsigned int uint;
typedef unsigned short ushort;
typedef __half half;
typedef __half float16_t;
typedef __nv_bfloat16 bfloat16_t;
template <typename T> T simd_shuffle(T x, ushort lane) { return __shfl_sync(~0u, x, lane); }
template <typename T> T simd_shuffle_xor(T x, ushort mask) {
  return __shfl_xor_sync(~0u, x, mask);
}
template <typename T> T simd_sum(T x) {
  for (int apart = 16; apart; apart /= 2) x += simd_shuffle_xor(x, apart);
  return x;
}
template <typename T> T simd_max(T x) {
  for (int apart = 16; apart; apart /= 2) x = max(x, simd_shuffle_xor(x, apart));
  return x;
}
template <typename To, typename From> To as_type(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  To y;
  memcpy(&y, &x, sizeof(y));
  return y;
}
namespace mem_flags { enum mem_flags { mem_threadgroup }; }
inline void threadgroup_barrier(mem_flags::mem_flags) { __syncthreads(); }
namespace metal {
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
namespace precise {
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline float exp(float x) { return expf(x); }
inline float exp2(float x) { return exp2f(x); }
inline float log(float x) { return logf(x); }
inline float sin(float x) { return sinf(x); }
inline float cos(float x) { return cosf(x); }
}
}
"""

BEYOND = """
if (thread_position_in_grid.x >= GRID_X || thread_position_in_grid.y >= GRID_Y ||
    thread_position_in_grid.z >= GRID_Z) {
  return;
}
"""


def cuda_header(kernel: Kernel) -> str:
    """What stands before a kernel."""
    return LANGUAGE + kernel.header


def cuda_body(kernel: Kernel) -> str:
    """The kernel itself; the grid is in constants GRID_X, GRID_Y and GRID_Z."""
    return BEYOND + re.sub(r"\bthreadgroup (\w+ \w+\[)", r"__shared__ \1", kernel.body)


def on_cuda(
    kernel: Kernel, inputs: Sequence[mx.array], template: Template, grid: Grid, outputs: Outputs
) -> list[mx.array]:
    """A launcher (`lfm2audio_mlx.kernels.metal.Launcher`)."""
    sizes = dict(zip(("GRID_X", "GRID_Y", "GRID_Z"), grid.threads, strict=True))
    return _built(kernel)(
        inputs=list(inputs),
        template=list({**template, **sizes}.items()),
        grid=grid.threads,
        threadgroup=grid.threadgroup,
        output_shapes=[shape for shape, _ in outputs],
        output_dtypes=[dtype for _, dtype in outputs],
    )


@cache
def _built(kernel: Kernel) -> Any:
    return mx.fast.cuda_kernel(
        name=f"lfm_{kernel.name}",
        input_names=kernel.inputs,
        output_names=kernel.outputs,
        source=cuda_body(kernel),
        header=cuda_header(kernel),
    )
