"""Kernels with one planted fault each: the machine finds it, whatever order it runs them in."""

import re

import mlx.core as mx
import pytest

import machine
from small_kernels import Outputs, Size, launch, needs_compiler

pytestmark = needs_compiler

X = mx.arange(64, dtype=mx.float32)
Y: Outputs = {"y": ((64,), mx.float32)}
SEEDS = range(5)

# One threadgroup of 64 threads with i = 0...63, an input x and an output y of 64 floats.
FAULTS = {
    "a missing threadgroup barrier": (
        "race",
        r"'shared'.*no threadgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        y[i] = shared[63 - i];""",
    ),
    "a missing barrier before an array is used again": (
        "race",
        r"'shared'.*which thread \d+ .* had (read|written): no threadgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float mine = shared[63 - i];
        shared[i] = mine;
        y[i] = mine;""",
    ),
    "a race between two lanes of a simdgroup": (
        "race",
        "'shared'.*no simdgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        y[i] = shared[i ^ 1];""",
    ),
    "simdgroup_barrier between two simdgroups": (
        "race",
        "'shared'.*no threadgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        simdgroup_barrier(mem_flags::mem_threadgroup);
        y[i] = shared[63 - i];""",
    ),
    "simd_sum taken for a barrier": (
        "race",
        "'shared'.*no simdgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        float sum = simd_sum(x[i]);
        y[i] = shared[i ^ 1] + sum;""",
    ),
    "a barrier for device memory only": (
        "race",
        "'shared'.*no threadgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        threadgroup_barrier(mem_flags::mem_device);
        y[i] = shared[63 - i];""",
    ),
    "a barrier for no memory": (
        "race",
        "'shared'.*no simdgroup_barrier",
        """threadgroup float shared[64];
        shared[i] = x[i];
        simdgroup_barrier(mem_flags::mem_none);
        y[i] = shared[i ^ 1];""",
    ),
    "a barrier for threadgroup memory only, before an output is read": (
        "race",
        "output 'y'.*no threadgroup_barrier",
        """y[i] = x[i];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        float other = y[63 - i];
        threadgroup_barrier(mem_flags::mem_device);
        y[i] = other;""",
    ),
    "the same value written by two threads": (
        "race",
        "output 'y' at element 0",
        "y[i] = 1.0f; y[0] = 1.0f;",
    ),
    "a race in the halves of one word": (
        "race",
        "'shared'",
        """threadgroup ushort shared[64];
        shared[i] = 1;
        y[i] = 0;
        shared[(i + 1) % 64] = 2;""",
    ),
    "an input read behind its end": (
        "bounds",
        r"reads 4 bytes outside input 'x' at element 64 of 64",
        "y[i] = x[i + 1];",
    ),
    "an input read before its start": (
        "bounds",
        r"reads 4 bytes outside input 'x' at element -1 of 64",
        "y[i] = x[int(i) - 1];",
    ),
    "an output written behind its end": (
        "bounds",
        r"writes 4 bytes outside output 'y' at element 64 of 64",
        "y[i] = 0; if (i == 63) y[64] = 1;",
    ),
    "a threadgroup array through a pointer behind its end": (
        "bounds",
        r"writes 4 bytes outside threadgroup array 'shared' at element \d+ of 32",
        "threadgroup float shared[32]; threadgroup float* p = shared; p[i] = 1; y[i] = 0;",
    ),
    "a threadgroup array by its name behind its end": (
        "bounds",
        "takes element \\d+ of an array that is",
        "threadgroup float shared[32]; shared[i] = 1; y[i] = 0;",
    ),
    "a thread's own array behind its end": (
        "bounds",
        r"takes element \d+ of an array that is 'float \[4\]'",
        "float own[4] = {0, 1, 2, 3}; y[i] = own[i];",
    ),
    "a vector read half behind the end": (
        "bounds",
        r"reads 16 bytes outside input 'x' at element 64 of 64",
        "const float4 v = ((const device float4*)x)[i / 4 + 1]; y[i] = v.y;",
    ),
    "a wild pointer": (
        "bounds",
        "belongs to no array",
        "y[i] = *(const device float*)(ulong(i) << 40);",
    ),
    "another thread's own memory": (
        "bounds",
        "another thread's own memory",
        """threadgroup ulong where[64];
        float own = x[i];
        where[i] = ulong(&own);
        threadgroup_barrier(mem_flags::mem_threadgroup);
        y[i] = *(thread float*)where[63 - i];""",
    ),
    "a write to an input": (
        "bounds",
        r"writes input 'x' at element \d+ of 64 .*which is not an output",
        "((device float*)x)[i] = 1; y[i] = 0;",
    ),
    "a lane that is not there": (
        "bounds",
        r"calls simd_shuffle with (32|\d+), which leads to no lane",
        "y[i] = simd_shuffle(x[i], i + 1);",
    ),
    "a misaligned vector": (
        "alignment",
        r"reads 16 bytes of input 'x' at element 1 of 64",
        "const float4 v = *(const device float4*)(x + 1); y[i] = v.x;",
    ),
    "a misaligned word of an output": (
        "alignment",
        r"writes 4 bytes of output 'y'",
        "y[i] = 0; *(device uint*)((device uchar*)y + 2) = 0;",
    ),
    "a threadgroup barrier in a branch": (
        "barrier",
        "waits at threadgroup_barrier, but thread .* has ended",
        "y[i] = 0; if (x[i] < 40) threadgroup_barrier(mem_flags::mem_threadgroup);",
    ),
    "an early return before a barrier": (
        "barrier",
        "waits at threadgroup_barrier, but thread .* has ended",
        """y[i] = x[i];
        if (i >= 32) return;
        threadgroup_barrier(mem_flags::mem_threadgroup);""",
    ),
    "two barriers in two branches": (
        "barrier",
        "waits at threadgroup_barrier at another place",
        """y[i] = 0;
        if (x[i] < 40) {
          threadgroup_barrier(mem_flags::mem_threadgroup);
        } else {
          threadgroup_barrier(mem_flags::mem_device);
        }""",
    ),
    "simd_sum in a branch": (
        "barrier",
        "waits at simd_sum, but thread .* has ended",
        "y[i] = 0; if (x[i] > 40) y[i] = simd_sum(x[i]);",
    ),
    "two simd functions in two branches": (
        "barrier",
        "all threads of a simdgroup must make the call together",
        "y[i] = x[i] < 7 ? simd_max(x[i]) : simd_min(x[i]);",
    ),
    "a loop that some lanes leave earlier": (
        "barrier",
        "simd_sum",
        "float s = 0; for (uint j = i; j < 40; j += 32) s += simd_sum(x[j]); y[i] = s;",
    ),
    "a broadcast from different lanes": (
        "barrier",
        "it must be the same in the whole simdgroup",
        "y[i] = simd_broadcast(x[i], i % 2);",
    ),
    "threadgroup memory that nobody wrote": (
        "uninitialised",
        "'shared' at element 63 of 64 .*nobody has written in this threadgroup",
        """threadgroup float shared[64];
        if (i < 63) shared[i] = x[i];
        threadgroup_barrier(mem_flags::mem_threadgroup);
        y[i] = shared[63 - i];""",
    ),
    "an output read before it is written": (
        "uninitialised",
        "output 'y'",
        "y[i] += x[i];",
    ),
    "an element that nobody writes": (
        "unwritten",
        r"output 'y' at element 5 of 64",
        "if (i != 5) y[i] = x[i];",
    ),
    "too much threadgroup memory": (
        "bounds",
        "brings threadgroup memory to 32784 bytes: Metal has 32768",
        "threadgroup float a[8192]; threadgroup float b[4]; a[i] = 0; b[i % 4] = a[i]; y[i] = 0;",
    ),
    "a division of integers by zero": (
        "arithmetic",
        "divides an integer by zero",
        "y[i] = 7 / int(x[i]);",
    ),
    "a double": ("compile", "Metal has no 'double'", "double d = x[i]; y[i] = float(d);"),
    "a float into a bfloat": ("compile", "bfloat", "bfloat b = x[i]; y[i] = float(b);"),
    "bfloat and half": ("compile", "deleted", "y[i] = float(bfloat(x[i]) * half(x[i]));"),
    "an unknown name": (
        "compile",
        r"kernel\.metal:\d+:.*'nowhere' was not declared",
        "y[i] = nowhere;",
    ),
    "a word missing": ("compile", "expected", "y[i] = ;"),
    "a write to what is const": ("compile", "read-only|assignment", "x[i] = 0; y[i] = 0;"),
}


def _launch(body: str, grid: Size = (64, 1, 1), threadgroup: Size = (64, 1, 1)) -> machine.Launch:
    text = f"const uint i = thread_position_in_grid.x;\n{body}\n"
    return launch(text, {"x": X}, Y, grid, threadgroup)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str):
    kind, words, body = FAULTS[name]
    made = _launch(body)
    for seed in SEEDS:
        with pytest.raises(machine.KernelFault) as caught:
            machine.execute(made, [X], seed)
        assert caught.value.kind == kind, caught.value
        assert re.search(words, str(caught.value)), caught.value
        assert made.name in str(caught.value)


def test_the_message_shows_the_lines():
    made = _launch("threadgroup float shared[64];\nshared[i] = x[i];\ny[i] = shared[63 - i];")
    with pytest.raises(machine.KernelFault) as caught:
        machine.execute(made, [X])
    assert re.search(r"line \d+: shared\[i\] = x\[i\];", str(caught.value))
    assert re.search(r"line \d+: y\[i\] = shared\[63 - i\];", str(caught.value))


def test_threadgroups_have_no_order():
    """Even one value, and even behind a barrier."""
    body = """y[i] = x[i];
    threadgroup_barrier(mem_flags::mem_device);
    if (i % 32 == 0) y[63] = x[63];"""
    for seed in SEEDS:
        with pytest.raises(machine.KernelFault, match=r"race.*threadgroups have no order"):
            machine.execute(_launch(body, threadgroup=(32, 1, 1)), [X], seed)


def test_a_threadgroup_finds_its_memory_fresh():
    """What the threadgroup before left in an array is not there any more."""
    body = """threadgroup float shared[32];
    if (i < 32) shared[i] = x[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[i] = shared[i % 32];"""
    for seed in SEEDS:
        with pytest.raises(machine.KernelFault, match=r"uninitialised.*threadgroup \(1, 0, 0\)"):
            machine.execute(_launch(body, threadgroup=(32, 1, 1)), [X], seed)


def test_a_threadgroup_has_a_size():
    with pytest.raises(machine.KernelFault, match=r"bounds.*2048 threads: Metal has at most 1024"):
        machine.execute(_launch("y[i] = 0;", (2048, 1, 1), (2048, 1, 1)), [X])


def test_what_metal_refuses_and_cpp_does_not():
    header = "inline float f() { threadgroup float a[2]; return a[0]; }"
    made = launch("y[0] = f();", {"x": X}, Y, (1, 1, 1), (1, 1, 1), header=header)
    with pytest.raises(machine.KernelFault, match=r"compile.*'a' stands outside the kernel"):
        machine.execute(made, [X])
    with pytest.raises(machine.KernelFault, match=r"compile.*Metal takes only one of"):
        machine.execute(_launch("y[i] = thread_execution_width - threads_per_simdgroup;"), [X])


def test_the_machine_survives_a_fault():
    """After any fault the next kernel runs as if nothing had happened."""
    right = _launch("y[i] = simd_sum(x[i]);")
    wanted = machine.execute(right, [X])[0]
    for kind, _, body in list(FAULTS.values())[::3]:
        with pytest.raises(machine.KernelFault, match=kind):
            machine.execute(_launch(body), [X])
        assert mx.array_equal(machine.execute(right, [X])[0], wanted)


def test_a_fault_is_the_same_for_a_seed():
    made = _launch(FAULTS["a missing threadgroup barrier"][2])

    def message(seed: int) -> str:
        with pytest.raises(machine.KernelFault) as caught:
            machine.execute(made, [X], seed)
        return str(caught.value)

    assert message(3) == message(3)
    assert len({message(seed) for seed in range(20)}) > 1
