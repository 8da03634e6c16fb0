"""The driver of `make compare`, with workers that only pretend."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare import environments, session
from benchmarks.compare.environments import Unavailable, environment
from benchmarks.compare.figures import Figures, Results
from benchmarks.compare.peers import OURS, PEERS, Entry
from benchmarks.compare.rounds import alternate, take_turns
from benchmarks.compare.session import Options, compare
from benchmarks.compare.table import show
from benchmarks.compare.talk import Failed, Lacks, Worker
from benchmarks.compare.targets import TARGETS, Target, judge

FAKE = Path(__file__).with_name("fake_worker.py")
PYTHON = Path(sys.executable)
Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def begin(mode: str, name: str = "fake", patience: float = 30.0) -> Worker:
        command = [sys.executable, "-S", str(FAKE), mode]
        workers.append(Worker(name, command, tmp_path / f"{name}.log", patience=patience))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.close()


def test_a_worker_says_what_it_has_and_answers(start: Start):
    worker = start("fine")
    assert worker.stages == {"a", "b", "first audio"}
    assert worker.run("a") == 2.0
    assert worker.count("memory") == 1_000_000_000
    with pytest.raises(Lacks, match="no such figure"):
        worker.run("first audio")
    assert worker.run("b") == 4.0


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("babbles", "not an answer: loading"),
        ("odd", r"not an answer: \[1\]"),
        ("dies", "it ended: out of memory"),
        ("error", "no b today"),
    ],
)
def test_a_worker_that_breaks_is_told_of(start: Start, mode: str, words: str):
    worker = start(mode)
    with pytest.raises(Failed, match=words):
        worker.run("b")


def test_one_that_died_stays_dead(start: Start):
    worker = start("dies")
    for _ in range(2):
        with pytest.raises(Failed, match="it ended: out of memory"):
            worker.run("a")


def test_one_that_never_answers_is_given_up(start: Start):
    with pytest.raises(Failed, match="no answer within 0 s"):
        start("mute", patience=0.2)


def test_an_answer_of_another_kind_is_a_failure(start: Start):
    with pytest.raises(Failed, match="not a number"):
        start("text").run("a")


def test_runs_take_turns():
    order: list[str] = []

    def run(name: str, took: float) -> Callable[[], float]:
        def go() -> float:
            order.append(name)
            return took

        return go

    taken = alternate([run("ours", 1.0), run("peer", 2.0)], rounds=3, seconds=60)
    assert order == ["ours", "peer"] * 3
    assert taken == [[1.0] * 3, [2.0] * 3]


def test_runs_are_at_least_three_when_time_is_short():
    assert alternate([lambda: 1.0], rounds=5, seconds=0) == [[1.0] * 3]


def test_ours_is_measured_though_the_peer_fails(start: Start):
    ours, peer = start("fine", "ours"), start("error", "peer")
    samples = take_turns([ours, peer], "b", 2, 60)
    assert samples["ours"].runs == [4.0, 4.0]
    assert not samples["peer"].runs
    assert samples["peer"].missing == "ValueError: no b today"


def results(ours: dict[str, float], peer: dict[str, float], device: str = "cpu") -> Results:
    return Results(
        Figures("ours", ours, about={"device": device}), {"mlx-audio": Figures("mlx-audio", peer)}
    )


def test_a_ratio_is_that_of_the_same_minutes():
    found = results({"text token": 50.0}, {"text token": 100.0})
    assert found.ratio("text token", "mlx-audio") == 0.5
    found.pairs["mlx-audio", "text token"] = (20.0, 100.0)
    assert found.ratio("text token", "mlx-audio") == 0.2
    assert found.ratio("text token", "torch") is None
    assert found.ratio("depth frame", "mlx-audio") is None


@pytest.mark.parametrize(
    ("took", "met", "words"),
    [(30.0, True, "met"), (50.0, False, "missed: 1.50 times the limit")],
)
def test_a_ratio_is_judged(took: float, met: bool, words: str):
    target = Target("text token", 1 / 3, beside="mlx-audio", cpu=True)
    assert target.wanted == "at most 1/3 of mlx-audio"
    verdict = judge(results({"text token": took}, {"text token": 100.0}), target)
    assert (verdict.met, verdict.words) == (met, words)
    on_gpu = judge(results({"text token": took}, {"text token": 100.0}, "gpu"), target)
    assert (on_gpu.met, on_gpu.words) == (None, "not judged on this device")


def test_a_count_is_judged_without_a_peer():
    at_most, at_least = Target("syncs", 1), Target("batch", 3, at_least=True)
    found = results({"syncs": 1.0, "batch": 1.5}, {})
    assert judge(found, at_most).met
    assert judge(found, at_least).words == "missed: 50% of what is wanted"
    assert judge(found, Target("turns", 0.9)).words == "not measured"


def test_every_target_is_of_a_figure_that_is_measured():
    known = {*session.STAGES, "host syncs per audio frame", "peak memory, quantised mode, GB"}
    known |= {f"launches, {step}" for step in ("backbone step", "depth frame", "codec frame")}
    known |= {"transcription, batch 8 over batch 1", "turns with nothing left to compute"}
    assert {target.figure for target in TARGETS} <= known
    assert {target.beside for target in TARGETS} <= {"", *(peer.name for peer in PEERS)}


def fake(mode: str, name: str, folder: Path) -> Entry:
    script = folder / f"{name}.py"
    script.write_text(f"import sys; sys.argv.append({mode!r})\n" + FAKE.read_text("utf-8"))
    return Entry(name, script, counts=("launches", "syncs"))


def test_a_comparison_ends_whatever_a_peer_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "heard.npz").touch()
    peers = [fake(mode, f"peer-{mode}", tmp_path) for mode in ("fine", "error", "dies", "babbles")]
    turns = tmp_path / "turns.py"
    turns.write_text("""print('{"nothing_left": 0.95}')""")
    options = Options(
        original=tmp_path,
        converted=tmp_path,
        folder=tmp_path,
        peers=[*peers, replace(peers[0], name="gone", requires=("x",), python="9.9", strict=True)],
        stages=["a", "b"],
        rounds=1,
        pythons={peer.name: PYTHON for peer in peers},
        ours=fake("fine", "ours", tmp_path),
        turns=turns,
    )
    found = compare(options)
    assert found.ours.values["a"] == 2.0
    assert found.ours.values["launches, depth frame"] == 800
    assert found.peers["peer-fine"].values["peak memory, GB"] == 1.0
    assert found.pairs["peer-fine", "b"] == (4.0, 4.0)
    assert found.peers["peer-error"].missing["b"] == "ValueError: no b today"
    assert found.peers["peer-error"].values["a"] == 2.0
    assert found.peers["peer-error"].failed and not found.ours.failed
    assert "out of memory" in found.peers["peer-dies"].reason
    assert found.ours.values["turns with nothing left to compute"] == 0.95
    assert "9.9" in found.peers["gone"].reason
    verdicts = [judge(found, target) for target in TARGETS]
    assert [v.target.figure for v in verdicts if v.met is False] == [
        "launches, backbone step",
        "host syncs per audio frame",
    ]
    show(found, verdicts)
    assert "gone is missing: needs Python 9.9" in capsys.readouterr().out
    json.dumps(found.record())


def test_an_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def found(_: Entry) -> str:
        return str(tmp_path / "python")

    monkeypatch.setattr(environments, "interpreter", found)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")  # where no uv is
    (tmp_path / "python").write_text("#!/bin/sh\necho 'ERROR: no network' >&2; exit 1\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(Unavailable, match="ERROR: no network"):
        environment(OURS, tmp_path / "venv")


def test_an_environment_is_made_once(tmp_path: Path):
    (tmp_path / "installed.txt").write_text("", "utf-8")
    assert environment(OURS, tmp_path) == tmp_path / "bin" / "python"
