"""What is left to compute when the end of a turn is certain: simulated turns, with pauses.

    python benchmarks/turns.py --turns 200 --chip m1

Each turn is one or two of the tests' recordings (held out from training) with pauses of 0.1 to
0.55 s in its midst and noise around it. It comes in blocks of 32 ms, as from a microphone; in
between there is time to compute, as `lfm chat` does: while nothing waits to be heard, an answer to
what may be the whole turn is begun (`lfm2audio_mlx.ahead`), until the speaker goes on or the pause
is long enough. What is made comes from the embedded checkpoint; what it takes is charged as if it
were the full model at the physical limit of a chip, or at `--share` of that: so it holds on any
machine. The limit: weights are read at the memory's bandwidth (4-bit, GB a step), and prompts and
sound are computed at the GPU's speed.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lfm2audio_mlx.ahead import Ahead
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.audio.vad import CHUNK, SAMPLE_RATE, SpeechCutter
from lfm2audio_mlx.engine import Chat, Engine
from lfm2audio_mlx.results import EndOfTurn, Part, Sound, Words

RECORDINGS = Path(__file__).parents[1] / "tests" / "data" / "recordings"
WANTED = 0.9
"""Of all turns, those that are to have nothing left."""
AFTER = 1.0
"""Seconds of silence after a turn."""
BLOCK = CHUNK / SAMPLE_RATE
VAD = 0.0013
"""Seconds that hearing a block takes, on any chip (measured on this project's Linux machine)."""

# The full model: what it reads and computes.
TOKEN_GB, FRAME_GB = 0.659, 0.907
"""Backbone and head; backbone, and the depthformer eight times."""
PREFILL_GFLOP, ENCODER_GFLOP, CODEC_GFLOP = 145 / 70, 12.6 / 4, 0.43
"""For a position of the prompt, a second heard, a frame spoken."""
FRAME = 0.08
"""Seconds of sound."""
POSITIONS_A_SECOND, POSITIONS_AROUND = 12.5, 20
"""Of the prompt: of what is heard, and of the words around it."""


@dataclass(frozen=True)
class Chip:
    """GB and GFLOP a second. The speeds are those at which a question of 4 s has its first sound
    after 124, 45 and 18 ms, if nothing overlaps."""

    bandwidth: float
    speed: float

    def first(self, seconds: float) -> float:
        """Seconds from a question's sound to the first word of its answer."""
        positions = POSITIONS_AROUND + POSITIONS_A_SECOND * seconds
        prefill = max(TOKEN_GB / self.bandwidth, PREFILL_GFLOP * positions / self.speed)
        return ENCODER_GFLOP * seconds / self.speed + prefill

    def next(self, item: Words | Sound | EndOfTurn) -> float:
        """Seconds for a further word, or frames and their sound."""
        if isinstance(item, Sound):
            frames = max(1, round(len(item.samples) / item.sample_rate / FRAME))
            return frames * (FRAME_GB / self.bandwidth + CODEC_GFLOP / self.speed)
        return TOKEN_GB / self.bandwidth


CHIPS = {"m1": Chip(68, 2600), "m2pro": Chip(200, 6800), "m4max": Chip(546, 16_000)}


@dataclass(frozen=True)
class Turn:
    """What came of one; times in seconds."""

    heard: float
    """How long what was asked is."""
    early: bool
    """Did a pause in its midst end it?"""
    left: float
    """To compute at its confirmed end, up to the first sound, or word where there is no sound."""
    late: float
    """How long its end waited to be heeded, because something was being computed."""
    made: int
    """Words and pieces of sound there were by then."""
    plain: float
    """What would have been left without the guess."""
    thrown: int
    """Guesses thrown away, and their computing."""
    wasted: float
    same: bool
    """Are the answer's tokens those of asking after the end?"""


def spoken(draw: np.random.Generator) -> np.ndarray:
    """A turn as a microphone hears it: mono samples [n] at 16 kHz."""
    found = sorted(RECORDINGS.glob("*seen_*"))
    chosen = draw.permutation(len(found))[: draw.integers(1, 3)]
    parts = [np.zeros(int(draw.uniform(0.3, 0.8) * SAMPLE_RATE), np.float32)]
    for path in (found[number] for number in chosen):
        voice = read_audio(path, SAMPLE_RATE)
        loud = np.flatnonzero(np.abs(voice) > 0.03 * np.abs(voice).max())
        voice = voice[loud[0] : loud[-1]]
        for piece in np.split(voice, [quiet_place(voice, draw)]):
            parts += [piece, np.zeros(int(draw.uniform(0.1, 0.55) * SAMPLE_RATE), np.float32)]
    samples = np.concatenate([*parts[:-1], np.zeros(int(AFTER * SAMPLE_RATE), np.float32)])
    noise = 10 ** (draw.uniform(-65, -45) / 20)
    return samples + draw.normal(0, noise, len(samples)).astype(np.float32)


def quiet_place(voice: np.ndarray, draw: np.random.Generator) -> int:
    """The sample of its middle at which a voice is one of the quietest: between words, mostly."""
    hop = SAMPLE_RATE // 50
    loud = [float(np.square(voice[at : at + hop]).sum()) for at in range(0, len(voice), hop)]
    middle = range(len(loud) // 4, 3 * len(loud) // 4)
    return hop * int(draw.choice(sorted(middle, key=loud.__getitem__)[:5]))


def simulate(engine: Engine, samples: np.ndarray, chip: Chip) -> Turn | None:
    """One turn; None where nobody was heard."""
    end = len(samples) / SAMPLE_RATE - AFTER
    chat, cutter = engine.chat(seed=1), SpeechCutter()
    ahead = Ahead(chat)
    clock, spent, thrown, wasted = 0.0, 0.0, 0, 0.0
    seconds = 0.0  # of what is taken for the turn
    for number, at in enumerate(range(0, len(samples), CHUNK), start=1):
        arrived = number * BLOCK
        while clock < arrived and ahead.step():
            cost = chip.next(ahead.made[-1]) if len(ahead.made) > 1 else chip.first(seconds)
            clock, spent = clock + cost, spent + cost
        late = max(0.0, clock - arrived)
        clock = arrived + late + VAD
        if ended := cutter.push(samples[at : at + CHUNK]):
            break
        begun, speech = len(ahead.made), cutter.pausing
        if speech:
            seconds = len(speech.samples) / SAMPLE_RATE
            ahead.guess((speech.samples, SAMPLE_RATE))
        else:
            ahead.forget()
        if len(ahead.made) < begun:
            thrown, wasted, spent = thrown + 1, wasted + spent, 0.0
    else:
        return None
    question, made = (ended[0].samples, SAMPLE_RATE), len(ahead.made)
    confirmed, reply = ahead.confirm(question)
    items = list(until_sound(reply))
    seconds = len(question[0]) / SAMPLE_RATE
    costs = [chip.first(seconds), *map(chip.next, items[1:])]
    needed = len(items) if isinstance(items[-1], Sound) else 1
    over = isinstance(items[-1], EndOfTurn)
    return Turn(
        heard=seconds,
        early=ended[0].end < end - 0.3,
        left=sum(costs[min(made, needed) : needed]),
        late=late,
        made=made,
        plain=sum(costs[:needed]),
        thrown=thrown,
        wasted=wasted,
        same=plainly(chat, question, len(confirmed.answer), over) == list(confirmed.answer),
    )


def until_sound(reply: Iterator[Words | Sound | EndOfTurn]) -> Iterator[Words | Sound | EndOfTurn]:
    for item in reply:
        yield item
        if isinstance(item, Sound):
            return


def plainly(chat: Chat, question: Part, count: int, over: bool) -> list[int | tuple[int, ...]]:
    """The first tokens of an answer that is begun now; all of them where it is to be `over`."""
    for _ in (reply := chat.reply(question)):
        if len(chat.answer) >= count and not over:
            break
    reply.close()
    return list(chat.answer)[: None if over else count]


@cache
def engine() -> Engine:
    return Engine.load()


def one(seed: int, chip: Chip, number: int) -> Turn | None:
    return simulate(engine(), spoken(np.random.default_rng([seed, number])), chip)


def turns(count: int, seed: int, chip: Chip, jobs: int) -> list[Turn]:
    """So many of them, in processes of their own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context) as pool:
        found = list(pool.map(partial(one, seed, chip), range(count), chunksize=4))
    return [turn for turn in found if turn]


def summary(found: list[Turn]) -> dict[str, float]:
    """Times in milliseconds."""
    wasted = [1000 * turn.wasted for turn in found]
    return {
        "turns": len(found),
        "heard_s": round(statistics.mean(turn.heard for turn in found), 2),
        "early": sum(turn.early for turn in found),
        "nothing_left": sum(not turn.left for turn in found) / len(found),
        "left_ms": round(max(1000 * turn.left for turn in found), 1),
        "without_ms": round(statistics.median(1000 * turn.plain for turn in found), 1),
        "late_ms": round(max(1000 * turn.late for turn in found), 1),
        "thrown_away": sum(turn.thrown for turn in found),
        "wasted_ms": round(statistics.mean(wasted), 1),
        "same_tokens": sum(turn.same for turn in found) / len(found),
    }


ROWS = {
    "turns": "turns",
    "heard_s": "seconds of a turn, mean",
    "early": "ended by a pause in its midst",
    "nothing_left": "nothing left at its confirmed end",
    "left_ms": "ms left at most, to the first sound",
    "without_ms": "ms that would be left without, median",
    "late_ms": "ms that an end waited to be heeded, at most",
    "thrown_away": "guesses thrown away",
    "wasted_ms": "ms computed in vain, mean of a turn",
    "same_tokens": "answered with the very tokens",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chip", choices=CHIPS, default="m1")
    parser.add_argument("--share", type=float, default=1.0, help="of the limit that is reached")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    limit = CHIPS[options.chip]
    chip = Chip(options.share * limit.bandwidth, options.share * limit.speed)
    found = turns(options.turns, options.seed, chip, options.jobs)
    figures = summary(found)
    if options.json:
        settings = {"chip": options.chip, "share": options.share, "seed": options.seed}
        print(json.dumps({**settings, **figures, "each": [asdict(turn) for turn in found]}))
    else:
        table = Table("figure", f"{options.chip}, {options.share:.0%} of its limit")
        for name, what in ROWS.items():
            value = figures[name]
            share = name in ("nothing_left", "same_tokens")
            table.add_row(what, f"{value:.1%}" if share else f"{value:,}")
        Console(width=100).print(table)
    return int(figures["nothing_left"] < WANTED or figures["same_tokens"] < 1)


if __name__ == "__main__":
    sys.exit(main())
