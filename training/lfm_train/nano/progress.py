"""`python -m lfm_train.nano.progress FOLDER`: how far encoder and codec are, before there is a
language model to examine.

Word errors on held-out sentences: of the encoder by its own head, and of an independent recogniser
on speech before and after the codec.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import jiwer
import mlx.core as mx
import numpy as np

from lfm2audio_mlx.errors import RequestError
from lfm_train.codec.codec import TrainedCodec
from lfm_train.command import ended
from lfm_train.nano.encoder import Recogniser, read
from lfm_train.nano.grammar import sentence
from lfm_train.nano.hearing import FRAME, Listener, placed
from lfm_train.nano.recipe import INNER, design
from lfm_train.nano.speaking import RATE, speech
from lfm_train.nano.sphinx import Sphinx
from lfm_train.nano.voices import SPEAKERS, draw_manner
from lfm_train.training import resume

SENTENCES = 60


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what is trained so far.")
    parser.add_argument("folder", type=Path, help="where `make nano` works")
    folder: Path = parser.parse_args().folder
    return ended("progress", lambda: _tell(folder))


def _tell(folder: Path) -> None:
    listener = Listener(design().features)
    for measure in (encoder_errors, codec_errors):
        for name, value in measure(folder, listener):
            print(f"{name:40} {value:.1%}", flush=True)


def _trained(step: int, folder: Path, what: str) -> int:
    if not step:
        raise RequestError(f"{folder} has no {what} yet: `make nano` keeps one every 200 steps")
    return step


def encoder_errors(folder: Path, listener: Listener) -> Iterator[tuple[str, float]]:
    """In voices that were trained, new voices, new accents; without noise."""
    model = Recogniser(design())
    step = _trained(resume(model, folder / "encoder"), folder, "encoder")
    model.eval()
    for new in ("", "voice", "accent"):
        draw = random.Random(f"progress {new}")
        truth = [sentence(draw, testing=True).text for _ in range(SENTENCES)]
        heard: list[str] = []
        for text in truth:
            sound = listener.speak(text, draw_manner(draw, new)).samples
            length = (len(sound) // FRAME + 4) * FRAME
            heard += read(model, listener.mel(placed(sound, length, FRAME))[None])
        kind = f"new {new}s" if new else "trained voices"
        yield f"encoder at step {step}, {kind}", float(jiwer.wer(truth, heard))


def codec_errors(folder: Path, listener: Listener) -> Iterator[tuple[str, float]]:
    """By pocketsphinx, on speech as it was and as it comes back."""
    config, ears = design(), Sphinx()
    assert config.mimi is not None
    codec = TrainedCodec(config.mimi, INNER, config.codebooks, config.codebook_size)
    codec.quantised = True
    stages = [folder / "codec" / stage for stage in ("decoder", "quantised")]
    step = _trained(resume(codec, stages[0]) or resume(codec, stages[1]), folder, "codec")
    for voice, manner in SPEAKERS.items():
        draw = random.Random("progress")
        truth = [sentence(draw, testing=True).text for _ in range(SENTENCES)]
        sounds = [speech(listener.espeak, text, manner).samples for text in truth]
        back = (np.array(codec(mx.array(sound[None]))[0][0]) for sound in sounds)
        for name, heard in (
            (f"{voice}, original", sounds),
            (f"{voice}, codec at step {step}", back),
        ):
            found = [ears.hear(sound, RATE) for sound in heard]
            yield name, float(jiwer.wer(truth, found))


if __name__ == "__main__":
    sys.exit(main())
