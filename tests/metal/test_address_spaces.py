"""Every pointer of a kernel is of the right address space, which C++ does not know.

Metal's four are those of OpenCL C++ under other names (device: global, threadgroup: local), so
clang's front end for that language checks them, in the source that MLX generates. Nothing runs.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

import mlx.core as mx
import pytest

import machine
from cases import CASES, Case, Maker
from lfm2audio_mlx.kernels.metal import FLOATS, Grid, Kernel, Outputs, Template, launching

needs_clang = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("clang") is None,
    reason="install clang, which knows OpenCL C++ on Linux",
)

LANGUAGE = """
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef uint uint32_t;
typedef int int32_t;
typedef half float16_t;
struct bfloat16_t { ushort bits; bfloat16_t() {} bfloat16_t(float); operator float() const; };
#define INFINITY (__builtin_inff())
#define uint2(x, y) ((uint2)(x, y))
#define thread __private
#define device __global
#define threadgroup __local
#define constant __constant
float simd_sum(float);
uint simd_sum(uint);
float simd_max(float);
float simd_shuffle(float, ushort);
float simd_shuffle_xor(float, ushort);
int simd_shuffle_xor(int, ushort);
namespace mem_flags { enum mem_flags { mem_threadgroup }; }
void threadgroup_barrier(mem_flags::mem_flags);
template <typename To, typename From> To as_type(From);
namespace metal {
float max(float, float);
float min(float, float);
int max(int, int);
int min(int, int);
namespace precise {
float rsqrt(float);
float exp(float);
float exp2(float);
float log(float);
float sin(float);
float cos(float);
}
}
"""
"""What our kernels use of Metal, as declarations."""


def translated(source: str) -> str:
    """A kernel of MLX in OpenCL C++: template arguments become macros, since a kernel there may
    have none, and attributes go."""
    start = re.search(r"template <([^>]*)>\n\[\[kernel\]\] void \w+\(", source)
    values = re.search(r"decltype\(\w+<([^>]*)>\)", source)
    assert start and values
    names = [parameter.split()[-1] for parameter in start[1].split(",")]
    defined = dict(zip(names, values[1].split(","), strict=True))
    macros = "".join(f"#define {name} {value}\n" for name, value in defined.items())
    end = source.index("\ntemplate [[host_name")
    body = re.sub(r"\s*\[\[[^\]]*\]\]", "", source[start.end() : end])
    return f"{LANGUAGE}{source[: start.start()]}{macros}__kernel void kernel_({body}"


def complaints(source: str) -> str:
    """What clang has against a kernel."""
    options = "-x clcpp -cl-std=clc++2021 -target spir64 -fsyntax-only -w"
    command = ["clang", *options.split(), "-Xclang", "-finclude-default-header", "-"]
    text = translated(source)
    return subprocess.run(command, input=text, text=True, capture_output=True).stderr


def bare(source: str) -> list[str]:
    """Pointers and references without an address space: generic there, errors in Metal."""
    code = re.sub(r"//.*", "", source)
    declared = re.findall(r"[^;,(){}<]*\w[*&] \w+", code)
    return [d for d in declared if not re.search(r"\b(device|thread|threadgroup|constant) ", d)]


def sources(cases: Sequence[Case], dtype: mx.Dtype) -> dict[str, str]:
    """The sources of all kernels that the cases launch, by name; none runs."""
    found: dict[str, str] = {}

    def note(
        kernel: Kernel, inputs: Sequence[mx.array], template: Template, grid: Grid, outputs: Outputs
    ) -> list[mx.array]:
        (launch,) = machine.record(
            lambda *given: kernel.launch(given, template, grid, outputs), *inputs
        )
        found[launch.name] = launch.source
        return [mx.zeros(shape, dtype) for shape, dtype in outputs]

    with launching(note):
        for case in cases:
            case.call(Maker(dtype, 0))
    return found


@needs_clang
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kernel", sorted({case.kernel for case in CASES}))
def test_address_spaces(kernel: str, dtype: mx.Dtype):
    small = [case for case in CASES if case.kernel == kernel and not case.published]
    for source in sources(small, dtype).values():
        assert complaints(source) == ""
        assert bare(source) == []


PLANTED = [
    ("norm_project", "const device uint32_t* at", "const thread uint32_t* at"),
    ("qk_norm_rope", "load(const device T* from", "load(const thread T* from"),
    ("sample_top_k", "threadgroup uint* counts", "device uint* counts"),
    ("sample_top_k", "const constant int* settings,\n", "const device int* settings,\n"),
    ("rel_pos_attention", "const device T* from", "const T* from"),
]


@needs_clang
@pytest.mark.parametrize(("kernel", "right", "wrong"), PLANTED)
def test_a_wrong_one_is_found(kernel: str, right: str, wrong: str):
    small = [case for case in CASES if case.kernel == kernel and not case.published]
    for source in sources(small, mx.float32).values():
        assert right in source
        source = source.replace(right, wrong)
        assert complaints(source) or bare(source)
