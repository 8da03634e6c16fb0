"""The rows of `make parity`, each an assertion of its own."""

from functools import cache
from pathlib import Path

import pytest

import parity


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory):
    return cache(lambda name: parity.open_case(name, tmp_path_factory.mktemp(name)))


@pytest.mark.parametrize(
    ("checkpoint", "stage"),
    [(name, stage[0]) for name in parity.NAMES for stage in parity.STAGES + parity.MORE[name]],
)
def test_random_checkpoint_equals_the_reference(case_of, checkpoint: str, stage: str):
    stages = {entry[0]: entry for entry in parity.STAGES + parity.MORE[checkpoint]}
    _, measure, tolerance = stages[stage]
    row = parity.Row(checkpoint, stage, measure(case_of(checkpoint)), tolerance)
    assert row.good, f"{parity.shown(row.result)} (tolerance {tolerance or 'all'})"


def test_embedded_checkpoint_equals_the_reference():
    for row in parity.nano_rows():
        assert row.good, f"{row.stage}: {parity.shown(row.result)}"


def test_packed_and_unpacked_weights_say_the_same():
    for row in parity.packed_rows():
        assert row.good, f"{row.stage}: {parity.shown(row.result)}"


def test_a_changed_random_stream_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parity, "digest", lambda folder: "other")
    with pytest.raises(parity.CheckpointError, match="other random weights"):
        parity.open_case("v1", tmp_path)
