"""Speak the test clips with espeak-ng and write them as 16 kHz mono 16-bit FLAC.

Usage: python make_speech.py FOLDER. Another espeak-ng may speak a little differently: after running
this, make the goldens again.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile
import torch
import torchaudio

from scenarios import CLIPS, SAMPLE_RATE, Clip


def speak(clip: Clip) -> torch.Tensor:
    """The clip's text in the clip's voice, cut or padded to its length: [1, samples] in +-1."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        command = ["espeak-ng", "-v", clip.voice, "-s", str(clip.speed), "-w", str(file), clip.text]
        subprocess.run(command, check=True)
        samples, rate = soundfile.read(file, dtype="float32")
    wave = torchaudio.functional.resample(torch.from_numpy(samples)[None], rate, SAMPLE_RATE)
    wave = wave[:, clip.skip : clip.skip + clip.samples]
    return torch.nn.functional.pad(wave, (0, clip.samples - wave.shape[1]))


def main(folder: Path) -> None:
    for clip in CLIPS:
        file = folder / f"{clip.name}.flac"
        soundfile.write(file, speak(clip)[0].numpy(), SAMPLE_RATE, subtype="PCM_16")
        print(f"{file.name}: {clip.samples} samples")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
