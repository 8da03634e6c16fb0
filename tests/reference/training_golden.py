"""The golden of training: what the reference loses on a batch of conversations, and its gradients,
in double precision: in float32 its gradients are up to 2e-4 off themselves.

``training.safetensors``
    loss, text_loss, audio_loss     scalars
    order [B, L]                    0 fill, 1 text, 2 audio in, 3 audio out
    norm.NAME                       of each parameter's gradient, its Euclidean norm
    seen.NAME [16]                  and how far it reaches in random directions
"""

import json
from pathlib import Path

import numpy as np
import torch
from liquid_audio import LFM2AudioModel, LFMModality
from liquid_audio.data.mapper import LFM2AudioChatMapper
from liquid_audio.data.types import (
    AudioSegment,
    ChatContentSegment,
    ChatMessage,
    InterleavedSegment,
    LFM2AudioModelInput,
    LFM2AudioTrainingSample,
    TextSegment,
)

import recorder
from scenarios import TRAINING, TRAINING_FACTS, Line
from training_numbers import seen_from, training_codes

CODEC_RATE = 24_000


class Mapper(LFM2AudioChatMapper):
    """The reference's own, with given codes where it would encode speech: a recording of an
    assistant is the number of its frames, in digits."""

    @staticmethod
    def _load_audio_bytes(audio: bytes) -> tuple[torch.Tensor, int]:
        if audio.isdigit():
            return torch.tensor([[float(audio)]]), CODEC_RATE
        return LFM2AudioChatMapper._load_audio_bytes(audio)

    def _encode_audio_out(self, *, wav: torch.Tensor, sampling_rate: int) -> torch.Tensor:
        return torch.from_numpy(training_codes(int(wav.item()))).T.long()


def training_golden(folder: Path, speech: Path) -> dict[str, torch.Tensor]:
    """Loss and gradients of the checkpoint in `folder`."""
    _add_facts(folder / "config.json")
    reference = recorder.load(folder)
    mapper = Mapper(reference.processor)
    batch = _collated([mapper(_messages(lines, speech)) for lines in TRAINING])
    model: LFM2AudioModel = reference.model.double()
    batch.audio_in = batch.audio_in.double()
    with torch.enable_grad():
        model.requires_grad_(True)
        out = model(batch)
        out.loss.backward()
    arrays = {
        "loss": out.loss.detach(),
        "text_loss": out.text_loss.detach(),
        "audio_loss": out.audio_loss.detach(),
        "order": batch.modality_flag.int(),
    }
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.numpy()
        arrays[f"norm.{name}"] = torch.tensor(np.linalg.norm(gradient.astype(np.float64)))
        arrays[f"seen.{name}"] = torch.from_numpy(seen_from(gradient))
    return arrays


def _add_facts(path: Path) -> None:
    """Give the config the multipliers that our checkpoints leave at 1."""
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | TRAINING_FACTS))


def _messages(lines: tuple[Line, ...], speech: Path) -> list[ChatMessage]:
    return [ChatMessage(role=line.role, content=list(_content(line, speech))) for line in lines]


def _content(line: Line, speech: Path):
    frames = str(line.frames).encode()
    if line.interleaved:
        yield InterleavedSegment(text=line.text, audio=frames)
        return
    segments: list[ChatContentSegment] = []
    if line.text:
        segments.append(TextSegment(text=line.text))
    if line.clip:
        segments.append(AudioSegment(audio=(speech / f"{line.clip}.flac").read_bytes()))
    if line.frames:
        segments.append(AudioSegment(audio=frames))
    yield from segments


def _collated(samples: list[LFM2AudioTrainingSample]) -> LFM2AudioModelInput:
    """As the reference's data loader does it, to the longest."""
    width = max(sample.modality_flag.shape[1] for sample in samples)
    texts, modalities, supervised = [], [], []
    for sample in samples:
        fill = (0, width - sample.modality_flag.shape[1])
        texts.append(torch.nn.functional.pad(sample.text, fill))
        modalities.append(
            torch.nn.functional.pad(sample.modality_flag, fill, value=int(LFMModality.TEXT))
        )
        supervised.append(torch.nn.functional.pad(sample.supervision_mask, fill, value=False))
    return LFM2AudioModelInput(
        text=torch.cat(texts, dim=1),
        audio_in=torch.cat([sample.audio_in for sample in samples], dim=1),
        audio_in_lens=torch.cat([sample.audio_in_lens for sample in samples]),
        audio_out=torch.cat([sample.audio_out for sample in samples], dim=1),
        modality_flag=torch.cat(modalities),
        supervision_mask=torch.cat(supervised),
    )
