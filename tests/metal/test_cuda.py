"""The bodies of our Metal kernels on a CUDA GPU, where one is at hand, beside their twins."""

import mlx.core as mx
import pytest

from cases import CASES, Case, Maker
from cuda import cuda_body, on_cuda
from harness import compare, expected, tolerance
from lfm2audio_mlx.kernels.metal import FLOATS, Grid, Kernel, Outputs, Template, launching

needs_cuda = pytest.mark.skipif(not mx.cuda.is_available(), reason="needs MLX with CUDA")


@needs_cuda
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kernel}: {case.shape}")
def test_a_kernel_is_its_twin_on_cuda(case: Case, dtype: mx.Dtype):
    """Some times over, since what is not ordered may differ from run to run."""
    for seed in range(3):
        with mx.stream(mx.gpu), launching(on_cuda):
            results = list(case.call(Maker(dtype, seed)))
            mx.eval(results)
        with mx.stream(mx.cpu):
            wanted = expected(case, dtype, seed)
            mx.eval(wanted)
        assert compare(results, wanted) <= tolerance(case, dtype)


def test_no_word_of_metal_is_left_that_cuda_does_not_know():
    """In the bodies as they are handed to CUDA; whether it compiles them only it can say."""
    seen: set[str] = set()

    def note(
        kernel: Kernel, _: object, template: Template, grid: Grid, outputs: Outputs
    ) -> list[mx.array]:
        assert "[[" not in kernel.body + kernel.header
        body = cuda_body(kernel)
        shared = kernel.body.count("threadgroup T ") + kernel.body.count("threadgroup float ")
        shared += kernel.body.count("threadgroup uint ") + kernel.body.count("threadgroup int ")
        assert body.count("__shared__") == shared
        seen.add(kernel.name)
        return [mx.zeros(shape, dtype) for shape, dtype in outputs]

    with launching(note):
        for case in CASES:
            if not case.published:
                case.call(Maker(mx.float32, 0))
    assert seen == {case.kernel for case in CASES}
