"""What the model does, on the embedded checkpoint: hear, speak, answer. Run by `make demo`."""

import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from lfm2audio_mlx import Engine, Sound, Words
from lfm2audio_mlx.audio.files import writing

ROOT = Path(__file__).parents[1]
RECORDINGS = ROOT / "tests" / "data" / "recordings"
OUTPUT = ROOT / "demo"
HEARD = ("seen_00.wav", "seen_04.wav", "seen_05.flac", "seen_16.flac", "unseen_07.flac")
SENTENCE = "alarm set for seven"
QUESTION = "seen_04.wav"


def main() -> None:
    console = Console(width=120, highlight=False)
    start = time.perf_counter()
    engine = Engine.load()
    console.print(f"embedded checkpoint loaded in {time.perf_counter() - start:.2f} s\n")
    console.print(hear(engine))
    console.print(f"\nsays {SENTENCE!r}: {speak(engine)}")
    console.print(f"is asked {QUESTION}: {answer(engine)}")


def hear(engine: Engine) -> Table:
    """Transcribe bundled recordings."""
    entries = json.loads((RECORDINGS / "transcripts.json").read_text("utf-8"))
    truth = {entry["file"]: entry["text"] for entry in entries}
    table = Table("recording", "heard", "should be", "took")
    for name in HEARD:
        start = time.perf_counter()
        text = engine.transcribe(RECORDINGS / name).text
        took = f"{time.perf_counter() - start:.2f} s"
        mark = "" if text == truth[name] else "[red]"
        table.add_row(name, mark + text, truth[name], took)
    return table


def speak(engine: Engine) -> str:
    """Speak a sentence into demo/."""
    start = time.perf_counter()
    pieces = [piece.samples for piece in engine.say(SENTENCE, seed=1)]
    return keep("sentence.wav", pieces, engine, start)


def answer(engine: Engine) -> str:
    """Answer one spoken question in words and voice."""
    start = time.perf_counter()
    items = list(engine.chat(seed=1).reply(RECORDINGS / QUESTION))
    words = "".join(item.text for item in items if isinstance(item, Words))
    pieces = [item.samples for item in items if isinstance(item, Sound)]
    return f"{words!r}, {keep('answer.wav', pieces, engine, start)}"


def keep(name: str, pieces: list[np.ndarray], engine: Engine, start: float) -> str:
    took, rate = time.perf_counter() - start, engine.codec.sample_rate
    with writing(OUTPUT / name, rate) as write:
        for piece in pieces:
            write(piece)
    seconds = sum(len(piece) for piece in pieces) / rate
    return f"{seconds:.2f} s of sound in demo/{name}, took {took:.2f} s"


if __name__ == "__main__":
    main()
