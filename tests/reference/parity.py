"""Our numbers beside the reference's: every stage in float32, every token of greedy runs.

Usage: python tests/reference/parity.py          (`make parity`)

Prints a table and exits with 1 when a row is out of its tolerance. `tests/engine/test_parity.py`
asserts the same rows. An error is the largest difference, divided by the reference's largest
value unless it says absolute; of tokens, frames and transcripts all must be equal.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from safetensors import safe_open

from checkpoints import NAMES, digest, write_checkpoint
from lfm2audio_mlx.audio.features import log_mel
from lfm2audio_mlx.audio.files import read_audio
from lfm2audio_mlx.engine import BATCH, Engine
from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.generation.decode import Event
from lfm2audio_mlx.generation.prompt import AudioCodes, TextIds, embed
from lfm2audio_mlx.generation.rows import Row as TextRow
from lfm2audio_mlx.generation.rows import Rows
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.models.compiled import compiling
from lfm2audio_mlx.recording import most_tokens
from lfm2audio_mlx.sampling import GREEDY
from lfm2audio_mlx.tokens import Modality
from lfm_convert import golden
from lfm_convert.convert import convert
from lfm_convert.golden import (
    Case,
    Steps,
    compare_run,
    open_codec,
    read_arrays,
    relative,
    stream,
)
from scenarios import (
    CHAT_TOKENS,
    CHAT_TURNS,
    CLIPS,
    MIMI_TAIL_FRAMES,
    TTS_PROMPT,
    TTS_TEXTS,
    TTS_TOKENS,
)

DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True)
class Row:
    """One line of the table: an error with its tolerance, or steps, of which all must be equal."""

    checkpoint: str
    stage: str
    result: float | Steps
    tolerance: str = ""

    @property
    def good(self) -> bool:
        if isinstance(self.result, Steps):
            return self.result.equal == self.result.total > 0
        return self.result <= float(self.tolerance.split()[0])


def speech(name: str) -> Path:
    return DATA / "speech" / f"{name}.flac"


def open_case(name: str, workplace: Path) -> Case:
    """Write, convert and load the checkpoint `name`."""
    original, folder = workplace / f"{name}-original", workplace / name
    write_checkpoint(name, original, DATA / "tokenizer")
    path = DATA / "goldens" / f"{name}.safetensors"
    with safe_open(path, framework="numpy") as file:
        made_of = file.metadata()["checkpoint"]
    if digest(original) != made_of:
        raise CheckpointError(f"{path}: was made from other random weights than '{name}' has now")
    convert(original, folder, "f32")
    engine = Engine.load(folder, "float32")
    return Case(
        engine,
        read_arrays(path),
        speech,
        lambda part: open_codec(folder, part),
    )


# Stages: each gives the largest error over its inputs.


def mel(case: Case) -> float:
    """Against the reference's code in double precision."""
    return max(difference for difference, _ in mel_differences(case))


def mel_float(case: Case) -> float:
    """Against the reference as it runs, beyond what its own float32 rounding amounts to."""
    return max(difference for _, difference in mel_differences(case))


def mel_differences(case: Case) -> Iterator[tuple[float, float]]:
    golden = read_arrays(DATA / "goldens" / "mel.safetensors")
    for clip in CLIPS:
        samples = read_audio(speech(clip.name), case.engine.config.features.sample_rate)
        ours = log_mel(samples, case.engine.config.features).T
        exact, rounded = golden[f"{clip.name}.exact"], golden[clip.name]
        beyond = np.abs(ours - rounded).max() - np.abs(rounded - exact).max()
        yield float(np.abs(ours - exact).max()), float(max(0.0, beyond))


def final_conversation(case: Case) -> mx.array:
    """Embeddings [1, L, hidden] of the whole chat as the reference's `ChatState` holds it."""
    golden = case.golden
    text, frames = iter(golden["final.text"].tolist()), iter(golden["final.audio"].T.tolist())
    clips = iter(item.value for turn in CHAT_TURNS for item in turn if item.kind == "audio")
    segments: list[Any] = []
    skip = 0
    for modality in golden["final.modality"].tolist():
        if skip:
            skip -= 1
        elif modality == Modality.TEXT:
            segments.append(TextIds((next(text),)))
        elif modality == Modality.AUDIO_OUT:
            segments.append(AudioCodes((tuple(next(frames)),)))
        else:
            segments.append(case.clip(next(clips)))
            skip = segments[-1].positions - 1
    return embed(case.engine.model, segments)


def prefill(case: Case) -> float:
    return relative(final_conversation(case)[0], case.golden["prefill"])


def backbone(case: Case) -> float:
    hidden, _ = case.engine.model.lfm(mx.array(case.golden["prefill"])[None])
    return relative(hidden[0], case.golden["backbone"])


def backbone_in_pieces(case: Case) -> float:
    """The same in calls of 7 positions: caches and convolution tails between them."""
    inputs, state = mx.array(case.golden["prefill"])[None], None
    pieces: list[mx.array] = []
    for start in range(0, inputs.shape[1], 7):
        hidden, state = case.engine.model.lfm(inputs[:, start : start + 7], state)
        pieces.append(hidden[0])
    return relative(mx.concatenate(pieces), case.golden["backbone"])


def text_logits(case: Case) -> float:
    hidden = mx.array(case.golden["backbone"][case.golden["text_logits.at"]])
    return relative(case.engine.model.text_logits(hidden), case.golden["text_logits"])


def mimi_long_wave(case: Case) -> float:
    """The last frames of a decode longer than the attention's context."""
    codes = mx.array(case.golden["mimi.long.codes"])[None]
    wave, _ = case.codec("mimi").decode(codes)
    tail = case.golden["mimi.long.tail"]
    assert len(tail) == MIMI_TAIL_FRAMES * 1920
    return relative(wave[0, -len(tail) :], tail)


def ones() -> Iterator[int]:
    while True:
        yield 1


def mimi_streamed(case: Case) -> float:
    return relative(
        stream(case.codec("mimi"), case.golden["mimi.codes"], ones()), case.golden["mimi.wave"]
    )


def mimi_long_streamed(case: Case) -> float:
    """Frame by frame beyond the context: the reference's one-shot decode all the same."""
    wave = stream(case.codec("mimi"), case.golden["mimi.long.codes"], ones())
    tail = case.golden["mimi.long.tail"]
    return relative(wave[-len(tail) :], tail)


def detokenizer_streamed(case: Case) -> float:
    codes = case.golden["detok.codes"]
    return relative(stream(case.codec("detokenizer"), codes, ones()), case.golden["detok.wave"])


def greedy(
    engine: Engine, system: str, parts: list[Any], limit: int, mode: Any = "sequential"
) -> Iterator[Event]:
    """A greedy answer to one question."""
    cursor = engine._begin(system, parts)
    return engine._generate(cursor, mode, GREEDY, GREEDY, limit, mx.random.key(0))


def speaking(case: Case) -> Steps:
    runs = (
        compare_run(
            greedy(case.engine, TTS_PROMPT, [text], TTS_TOKENS),
            case.golden[f"tts.{number}.modality"],
            case.golden[f"tts.{number}.tokens"],
        )
        for number, text in enumerate(TTS_TEXTS)
    )
    return sum(runs, Steps(0, 0))


def conversation(case: Case) -> Steps:
    """Three turns, each going on from the caches of the last."""
    chat = case.engine.chat(audio=GREEDY)
    total = Steps(0, 0)
    for number, items in enumerate(CHAT_TURNS):
        parts = [speech(item.value) if item.kind == "audio" else item.value for item in items]
        events = chat.events(*parts, max_tokens=CHAT_TOKENS)
        total += compare_run(
            events,
            case.golden[f"chat.{number}.modality"],
            case.golden[f"chat.{number}.tokens"],
        )
    return total


def compiled(measure: Callable[[Case], Steps]) -> Callable[[Case], Steps]:
    """The same with every step as one graph, as on a GPU."""

    def run(case: Case) -> Steps:
        with compiling(True):
            return measure(case)

    return run


Stage = tuple[str, Callable[[Case], float | Steps], str]

STAGES: list[Stage] = [
    ("log-mel", mel, "1e-4 absolute"),
    ("log-mel, past the reference's own rounding", mel_float, "1e-4 absolute"),
    ("encoder", golden.encoder, "1e-4 relative"),
    ("adapter", golden.adapter, "1e-4 relative"),
    ("prefill embeddings", prefill, "1e-4 relative"),
    ("backbone states", backbone, "1e-4 relative"),
    ("backbone states, in pieces", backbone_in_pieces, "1e-4 relative"),
    ("text logits", text_logits, "1e-4 relative"),
    ("depth frames", golden.depth_frames, ""),
    ("Mimi", golden.mimi_wave, "1e-4 relative"),
    ("Mimi, frame by frame", mimi_streamed, "1e-4 relative"),
    ("transcription", golden.transcription, ""),
    ("speech", speaking, ""),
    ("three turns", conversation, ""),
    ("transcription, compiled", compiled(golden.transcription), ""),
    ("speech, compiled", compiled(speaking), ""),
    ("three turns, compiled", compiled(conversation), ""),
]
MORE: dict[str, list[Stage]] = {
    "v1": [
        ("Mimi beyond its context", mimi_long_wave, "1e-4 relative"),
        ("Mimi beyond its context, frame by frame", mimi_long_streamed, "1e-4 relative"),
    ],
    "v25": [
        ("detokenizer", golden.detokenizer_wave, "1e-4 relative"),
        ("detokenizer, frame by frame", detokenizer_streamed, "1e-4 relative"),
    ],
}


def random_rows(name: str, case: Case) -> Iterator[Row]:
    """Every stage of one random checkpoint."""
    for stage, measure, tolerance in STAGES + MORE[name]:
        yield Row(name, stage, measure(case), tolerance)


def nano_rows() -> Iterator[Row]:
    """The embedded checkpoint against the reference running its original."""
    golden = json.loads((DATA / "goldens" / "nano.json").read_text("utf-8"))
    engine = Engine.load(dtype="float32")
    equal = [engine.hear(recording(e["file"])).text == e["text"] for e in golden["asr"]]
    yield Row("nano", "transcripts", Steps(sum(equal), len(equal)))
    together = in_rows(engine, [recording(e["file"]) for e in golden["asr"]])
    equal = [text == e["text"] for text, e in zip(together, golden["asr"], strict=True)]
    yield Row("nano", f"transcripts, {BATCH} at once", Steps(sum(equal), len(equal)))
    speech_runs = (nano_run(engine, run, "sequential") for run in golden["tts"])
    yield Row("nano", "speech", sum(speech_runs, Steps(0, 0)))
    answers = (nano_run(engine, run, "interleaved") for run in golden["chat"])
    yield Row("nano", "answers", sum(answers, Steps(0, 0)))


def in_rows(engine: Engine, recordings: list[Path]) -> list[str]:
    """Transcripts of many recordings at once."""
    rows = Rows(engine.steps, engine.tokenizer.special, BATCH)
    heard: list[TextRow] = []
    for path in recordings:
        while rows.full:
            rows.step()
        cursor, seconds = engine.asked_for_words(path, None)
        heard.append(rows.add(cursor, most_tokens(seconds)))
    while not rows.idle:
        rows.step()
    return [engine.tokenizer.decode(row.tokens).strip() for row in heard]


def packed_rows() -> Iterator[Row]:
    """4-bit weights as they are stored and unpacked to float32 say the same, step by step."""
    with tempfile.TemporaryDirectory() as folder:
        convert(EMBEDDED, Path(folder) / "4bit", "4bit")
        packed, plain = (
            Engine.load(Path(folder) / "4bit", "float32", unpack=u) for u in (False, True)
        )
        golden = json.loads((DATA / "goldens" / "nano.json").read_text("utf-8"))
        total = Steps(0, 0)
        for entry in golden["chat"][:3]:
            parts: list[list[Any]] = [[e.listen(recording(entry["file"]))] for e in (packed, plain)]
            one, other = (
                list(greedy(engine, entry["prompt"], part, 60, "interleaved"))
                for engine, part in zip((packed, plain), parts, strict=True)
            )
            same = sum(a == b for a, b in zip(one, other, strict=False))
            total += Steps(same, max(len(one), len(other)))
        yield Row("nano", "4-bit, packed and unpacked", total)


def nano_run(engine: Engine, entry: dict[str, Any], mode: Any) -> Steps:
    """One greedy run; the reference also lists the token that ends a sequential one."""
    steps = list(zip(entry["modality"], entry["tokens"], strict=True))
    if mode == "sequential":
        parts: list[Any] = [entry["sentence"]]
        steps.pop()
    else:
        parts = [engine.listen(recording(entry["file"]))]
    events = greedy(engine, entry["prompt"], parts, len(steps) + 1, mode)
    rows = [tokens + [-1] * (8 - len(tokens)) for _, tokens in steps]
    return compare_run(events, np.array([kind for kind, _ in steps]), np.array(rows))


def recording(name: str) -> Path:
    """The held-out recording of this name, whichever format it is kept in."""
    (path,) = (DATA / "recordings").glob(f"{Path(name).stem}.*")
    return path


def main() -> int:
    from rich.console import Console
    from rich.table import Table

    table = Table("checkpoint", "stage", "error, or steps equal", "tolerance", "")
    good = True
    with tempfile.TemporaryDirectory() as workplace:
        rows = [r for name in NAMES for r in random_rows(name, open_case(name, Path(workplace)))]
        for row in [*rows, *nano_rows(), *packed_rows()]:
            good &= row.good
            verdict = "[green]equal" if row.good else "[red]OUT"
            table.add_row(row.checkpoint, row.stage, shown(row.result), row.tolerance, verdict)
    Console(width=110).print(table)
    return 0 if good else 1


def shown(result: float | Steps) -> str:
    if isinstance(result, Steps):
        return f"{result.equal} of {result.total}"
    return f"{result:.1e}"


if __name__ == "__main__":
    sys.exit(main())
