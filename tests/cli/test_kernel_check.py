"""What `lfm doctor` says of our Metal kernels: they agree, they do not, or Metal refuses one."""

import mlx.core as mx
import pytest

from cases import CASES
from harness import Machine
from lfm2audio_mlx.kernels.metal import launching
from lfm_cli import kernel_check
from lfm_cli.kernel_check import TOLERANCES, disagreement, judge_kernels, kernels
from small_kernels import needs_compiler


@needs_compiler
def test_the_embedded_model_tells_right_kernels_from_wrong_ones():
    found: dict[str, float] = {}
    for dtype in TOLERANCES:
        machine = Machine(0)
        with launching(machine):
            found[dtype] = disagreement(dtype)
        assert set(machine.launches) == {case.kernel for case in CASES}
    assert 0 < found["float32"] < 1e-4  # where MLX multiplies in float32, as on this processor
    assert judge_kernels(found).state == "ok"


@needs_compiler
@pytest.mark.parametrize(
    "change",
    [
        ("squares += value * value", "squares += value"),  # norms
        ("float(content_bias[head", "-float(content_bias[head"),  # hearing
        ("b * cosine", "b * sine"),  # turning
        ("least = kth_largest", "least = 1u + kth_largest"),  # choosing
    ],
)
def test_a_wrong_kernel_is_a_fault(change: tuple[str, str]):
    with launching(Machine(0, change=change, everywhere=False)):
        finding = judge_kernels({"float32": disagreement("float32")})
    assert finding.state == "fault"
    assert "LFM_KERNELS=off" in finding.mend


def test_where_there_is_no_metal_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mx.metal, "is_available", lambda: False)
    assert kernels(None).state == "skipped"


def test_left_out_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setenv("LFM_KERNELS", "off")
    assert kernels(None).state == "note"


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_a_kernel_that_metal_refuses_is_a_fault(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: str) -> float:
        raise error("[metal::Device] Unable to build metal library\nprogram_source:3: error")

    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(kernel_check, "disagreement", refuse)
    finding = kernels(None)
    assert (finding.state, "\n" in finding.detail) == ("fault", False)
    assert "Unable to build" in finding.detail
