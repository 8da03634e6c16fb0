"""A recording of hours through `lfm transcribe -f all`: memory, speed, cues and word errors.

    python benchmarks/long_recording.py build/long --hours 2

Speech is espeak-ng's, in voices and sentences of the embedded checkpoint's domain, with pauses of
0.7 to 3 s and some longer silences, at -45 dB of noise; the seed is fixed. Its script is known, so
word errors can be counted. What it says of memory and cues holds anywhere, the speed for this
machine only.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jiwer
import numpy as np
import pysubs2
import soundfile
import soxr
from rich.console import Console
from rich.table import Table

RATE = 16_000
ACCENTS = ("en-us", "en-us-nyc", "en-gb", "en-gb-x-rp")
VARIANTS = ("Alex", "Annie", "Andy", "m1", "m2", "m3", "m4", "m7", "f3")
ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty"]
NUMBERS = [*ONES, *TENS, *(f"{ten} {one}" for ten in TENS for one in ONES)]
SENTENCES = (
    "turn on the {room} {thing}",
    "turn off the {room} {thing}",
    "set a timer for {number} minutes",
    "set the volume to {number}",
    "set the temperature to {number} degrees",
    "alarm set for {one} thirty",
    "{one} {other} {third} {fourth}",
    "{number} {more}",
)


@dataclass(frozen=True)
class Figures:
    """What came of a run; times in seconds, memory in bytes."""

    duration: float
    sentences: int
    wall: float
    peak: int
    word_errors: float
    spans: int
    cues: int
    longest_line: int
    most_lines: int
    cue_seconds: tuple[float, float, float]
    """Shortest, median, longest."""
    faults: int
    """Cues that end before they begin, overlap the next or lie outside the sound."""


def sentence(draw: random.Random) -> str:
    one, other, third, fourth = (draw.choice(ONES) for _ in range(4))
    return draw.choice(SENTENCES).format(
        room=draw.choice(("kitchen", "bedroom", "office")),
        thing=draw.choice(("light", "fan")),
        number=draw.choice(NUMBERS),
        more=draw.choice(NUMBERS),
        one=one,
        other=other,
        third=third,
        fourth=fourth,
    )


def spoken(text: str, draw: random.Random, folder: Path) -> np.ndarray:
    """A sentence as mono samples [n] at `RATE`."""
    path = folder / "sentence.wav"
    voice = f"{draw.choice(ACCENTS)}+{draw.choice(VARIANTS)}"
    speed = str(draw.randint(125, 180))
    subprocess.run(["espeak-ng", "-v", voice, "-s", speed, "-w", str(path), text], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    samples = np.trim_zeros(soxr.resample(samples, rate, RATE))
    return samples * (draw.uniform(0.2, 0.7) / np.abs(samples).max())


def make(path: Path, seconds: float, seed: int) -> list[str]:
    """Write the recording as flac; what is said in it, in order."""
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    texts: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as out,
    ):
        while out.frames < seconds * RATE:
            texts.append(sentence(draw))
            pause = draw.uniform(10, 60) if draw.random() < 0.01 else draw.uniform(0.7, 3.0)
            voice = spoken(texts[-1], draw, Path(folder))
            samples = np.concatenate([voice, np.zeros(int(pause * RATE), np.float32)])
            out.write(samples + noise.normal(0, 0.0056, len(samples)).astype(np.float32))
    return texts


def transcribe(recording: Path, folder: Path, model: str) -> tuple[float, int]:
    """Run the command; its wall time in seconds and its largest memory in bytes."""
    command = [sys.executable, "-m", "lfm_cli", "transcribe", str(recording)]
    command += ["-f", "all", "-o", str(folder), "--model", model, "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"lfm transcribe failed with status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, usage.ru_maxrss * unit


def measure(recording: Path, folder: Path, texts: list[str], wall: float, peak: int) -> Figures:
    info = soundfile.info(recording)
    told = json.loads((folder / f"{recording.stem}.json").read_text("utf-8"))
    cues = list(pysubs2.load(str(folder / f"{recording.stem}.srt")))
    lines = [line for cue in cues for line in cue.plaintext.split("\n")]
    shown = sorted((cue.end - cue.start) / 1000 for cue in cues)
    edges = [(cue.start, cue.end) for cue in cues]
    faults = sum(end <= start or end > 1000 * info.duration for start, end in edges)
    faults += sum(a[1] > b[0] for a, b in pairwise(edges))
    return Figures(
        duration=info.duration,
        sentences=len(texts),
        wall=wall,
        peak=peak,
        word_errors=jiwer.wer(" ".join(texts), told["text"]),
        spans=len(told["segments"]),
        cues=len(cues),
        longest_line=max(map(len, lines)),
        most_lines=max(cue.plaintext.count("\n") + 1 for cue in cues),
        cue_seconds=(shown[0], shown[len(shown) // 2], shown[-1]),
        faults=faults,
    )


def rows(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "recording", f"{figures.duration:,.0f} s, {figures.sentences:,} sentences"
    yield "took", f"{figures.wall:,.0f} s, {figures.duration / figures.wall:.1f} times real time"
    yield "peak memory", f"{figures.peak / 1e6:,.0f} MB"
    yield "word error rate", f"{figures.word_errors:.2%}"
    yield "spans", f"{figures.spans:,}"
    yield "cues", f"{figures.cues:,}, at most {figures.most_lines} lines of {figures.longest_line}"
    shortest, median, longest = figures.cue_seconds
    yield "on screen", f"{shortest:.1f} to {longest:.1f} s, median {median:.1f} s"
    yield "faulty cues", str(figures.faults)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="nano")
    options = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        print("espeak-ng is needed: brew install espeak-ng, or apt install espeak-ng")
        return 1
    options.folder.mkdir(parents=True, exist_ok=True)
    recording = options.folder / "recording.flac"
    texts = make(recording, options.hours * 3600, options.seed)
    (options.folder / "script.txt").write_text("\n".join(texts) + "\n", "utf-8")
    wall, peak = transcribe(recording, options.folder, options.model)
    figures = measure(recording, options.folder, texts, wall, peak)
    table = Table("figure", "value")
    for row in rows(figures):
        table.add_row(*row)
    Console(width=100).print(table)
    return 1 if figures.faults else 0


if __name__ == "__main__":
    sys.exit(main())
