"""What `lfm doctor` says of our Metal kernels: they agree, they do not, or Metal refuses one."""

import mlx.core as mx
import pytest

from cases import CASES
from harness import Machine
from lfm2audio_mlx.kernels.metal import launching
from lfm_cli import kernel_check
from lfm_cli.kernel_check import disagreement, judge_kernels, kernels
from small_kernels import needs_compiler


@needs_compiler
def test_the_embedded_model_tells_right_kernels_from_wrong_ones():
    machine = Machine(0)
    with launching(machine):
        difference = disagreement()
    assert set(machine.launches) == {case.kernel for case in CASES}
    assert 0 < difference < kernel_check.TOLERANCE
    assert judge_kernels(difference).state == "ok"


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
        finding = judge_kernels(disagreement())
    assert finding.state == "fault"
    assert "LFM_KERNELS=off" in finding.mend


def test_where_there_is_no_metal_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mx.metal, "is_available", lambda: False)
    assert kernels(None).state == "skipped"


def test_left_out_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setenv("LFM_KERNELS", "off")
    assert kernels(None).state == "note"


def test_a_kernel_that_metal_refuses_is_a_fault(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> float:
        raise RuntimeError("[metal::Device] Unable to build metal library\nprogram_source:3: error")

    monkeypatch.setattr(mx.metal, "is_available", lambda: True)
    monkeypatch.setattr(kernel_check, "disagreement", refuse)
    finding = kernels(None)
    assert (finding.state, "\n" in finding.detail) == ("fault", False)
    assert "Unable to build" in finding.detail
