"""`lfm bench` measures every stage, and each figure is of work that was really done."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import ModelError
from lfm2audio_mlx.installed import EMBEDDED
from lfm_cli import stages
from lfm_cli.app import app
from lfm_cli.stages import STAGES, Stage, measure, speechlike


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["bench", *arguments], catch_exceptions=False)


@pytest.mark.slow
def test_all_stages_of_the_embedded_model(document: Callable[[str], dict[str, Any]]):
    result = bench("-m", "nano", "--repeat", "1", "--json")
    assert result.exit_code == 0
    found = document(result.stdout)
    on_cpu = found["machine"]["device"] == "cpu"
    dtype, weights = ("float32", "unpacked") if on_cpu else ("bfloat16", "as stored")
    assert found["model"] == {"name": "nano", "dtype": dtype, "weights": weights}
    assert set(found["machine"]) == {"chip", "cores", "system", "python", "mlx", "device"}
    assert all(found["machine"].values())
    assert found["peak_memory_bytes"] > (EMBEDDED / "model.safetensors").stat().st_size
    figures = {stage["name"]: stage for stage in found["stages"]}
    assert list(figures) == ["load", *(stage.name for stage in STAGES)]
    for name, figure in figures.items():
        assert figure["runs"] == 1
        if name != "first audio":  # that is for the model to decide
            assert figure["median"] == figure["best"] > 0
    steps = {step["name"]: step for step in found["steps"]}
    hearing, speaking = ["encode 4 s", "prefill 80 positions"], ["depth frame", "codec frame"]
    assert list(steps) == [*hearing, "backbone step", "text token", *speaking]
    assert all(step["launches"] > 0 and step["weight_bytes"] > 0 for step in steps.values())
    assert all(step["launches"] <= step["launches_without"] for step in steps.values())
    assert steps["text token"]["launches"] > steps["backbone step"]["launches"]
    if found["machine"]["device"] == "cpu":
        # What is only planned and not computed takes as long for either. A GPU does so small a
        # model's work, 7 and 13 times as much, in little more than the time of asking for it.
        best = {name: figure["best"] for name, figure in figures.items()}
        assert best["encode 30 s"] > 1.5 * best["encode 4 s"]
        assert best["prefill 1,000 positions"] > 2 * best["prefill 75 positions"]


def test_people_get_a_table(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "STAGES", STAGES[:1])  # the others are measured above
    result = bench("-m", "nano", "--repeat", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert {line.split()[0] for line in lines[:9]} == {
        *("chip", "cores", "system", "python", "mlx", "device", "model", "dtype", "weights")
    }
    assert lines[10].split() == ["STAGE", "MEDIAN", "BEST"]
    assert [line.split("  ")[0] for line in lines[11:13]] == ["load", STAGES[0].name]
    assert lines[14].split() == ["STEP", "LAUNCHES", "WITHOUT", "OURS", "WEIGHTS", "READ"]
    assert [line.split("  ")[0] for line in lines[17:19]] == ["backbone step", "text token"]
    assert lines[-1].startswith("each run 2 times after one to warm up; at most ")


def test_a_model_that_cannot_be_used_is_named(
    copy_of: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("LFM_MODEL")
    folder = copy_of(EMBEDDED)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        bench("-m", str(folder))
    with pytest.raises(ModelError, match="no model is installed"):
        bench()
    assert bench("--repeat", "0").exit_code == 2


# Measuring


def given(name: str, unit: str, figures: Iterator[float | None]) -> Stage:
    return Stage(name, unit, lambda engine: lambda: next(figures))  # pyright: ignore[reportArgumentType]


def test_the_first_run_does_not_count_and_the_middle_one_does(nano: Engine):
    figure = measure(given("a", "ms", iter([99.0, 3.0, 1.0, 8.0])), nano, 3)
    assert (figure.median, figure.best, figure.runs) == (3.0, 1.0, 3)
    figure = measure(given("a", "x", iter([99.0, 3.0, 1.0, 8.0])), nano, 3)
    assert (figure.median, figure.best, figure.runs) == (3.0, 8.0, 3)


def test_what_the_model_does_not_do_has_no_figure(nano: Engine):
    figure = measure(given("a", "ms", iter([None] * 4)), nano, 3)
    assert (figure.median, figure.best) == (None, None)
    assert measure(given("a", "ms", iter([None, None, 2.0, None])), nano, 3).median == 2.0


@pytest.mark.parametrize("name", ["text token", "depth frame", "codec frame", "speech"])
@pytest.mark.parametrize("model", ["v1", "v25"])
def test_generation_is_measured_whatever_the_model_would_say(
    engines: dict[str, Engine], model: str, name: str
):
    """Random weights would end their speech at any frame, and each decoder has its own state."""
    (stage,) = [stage for stage in STAGES if stage.name == name]
    figure = measure(stage, engines[model], 2)
    assert figure.median
    assert figure.best


def test_the_sound_that_is_heard_is_fit_to_be(nano: Engine):
    sound = speechlike(4.0, 16_000)
    assert (sound.shape, sound.dtype) == ((64_000,), np.float32)
    assert 0.1 < np.abs(sound).max() < 1.0
    assert np.array_equal(sound, speechlike(4.0, 16_000))
