"""The reference implementation on a CPU in float32: loading it, and recording greedy runs."""

import copy
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
import torch
from liquid_audio import ChatState, LFM2AudioModel, LFM2AudioProcessor, LFMModality
from liquid_audio.detokenizer import LFM2AudioDetokenizer
from liquid_audio.model.conformer import encoder as conformer_encoder
from liquid_audio.model.conformer.processor import FilterbankFeatures
from liquid_audio.moshi.models import loaders
from liquid_audio.moshi.models.compression import MimiModel
from liquid_audio.moshi.modules import SEANetDecoder, SEANetEncoder
from liquid_audio.moshi.modules.transformer import ProjectedTransformer
from liquid_audio.moshi.quantization import SplitResidualVectorQuantizer
from safetensors.torch import load_file
from transformers import Lfm2Config

from scenarios import SAMPLE_RATE, Item

MIMI_FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"

# liquid-audio 1.3.0 lost this import: `xscaling` true is a NameError without it.
conformer_encoder.math = math


@dataclass
class Reference:
    """A checkpoint's model and processor, and the narrowest decision met so far."""

    model: LFM2AudioModel
    processor: LFM2AudioProcessor
    margins: list[float] = field(default_factory=list)

    @property
    def margin(self) -> float:
        """The smallest gap between best and second-best logit, in the logits' deviations."""
        return min(self.margins)


@dataclass
class Reply:
    """Greedy output: modality [n], and tokens [n, 8] with a text's id first and -1 after it."""

    modality: torch.Tensor
    tokens: torch.Tensor


def load(folder: Path) -> Reference:
    """The model in evaluation mode, its parameters equal to every tensor of the folder's files."""
    model = LFM2AudioModel.from_pretrained(folder, device="cpu", dtype=torch.float32).eval()
    model.load_state_dict(_all_tensors(folder), strict=True)
    processor = LFM2AudioProcessor.from_pretrained(folder, device="cpu").eval()
    reference = Reference(model, processor)
    for table in model.depth_embeddings:
        table.to_logits.register_forward_hook(lambda _, __, out: _measure(reference, out))
    sample_text = model._sample_text_token

    def measured(logits: torch.Tensor, **options: float | None) -> torch.Tensor:
        _measure(reference, logits)
        return sample_text(logits, **options)

    model._sample_text_token = measured
    return reference


def _all_tensors(folder: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors |= load_file(file)
    return tensors


def _measure(reference: Reference, logits: torch.Tensor) -> None:
    best, second = logits.flatten().topk(2).values
    reference.margins.append(float((best - second) / logits.std()))


def exact_mel(reference: Reference, wave: torch.Tensor) -> torch.Tensor:
    """Log-mel [1, 128, T] of a wave [1, n] as it would be without float32 rounding."""
    featurizer = copy.deepcopy(reference.processor.audio.featurizer).double()
    window = torch.hann_window(featurizer.win_length, periodic=False, dtype=torch.float64)
    featurizer.stft = lambda wave: torch.stft(  # the original casts the window to float32
        wave,
        n_fft=featurizer.n_fft,
        hop_length=featurizer.hop_length,
        win_length=featurizer.win_length,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )
    # The instance's own `forward` is bound to the featurizer that was copied.
    mel, _ = FilterbankFeatures.forward(featurizer, wave.double(), torch.tensor([wave.shape[1]]))
    return mel


def load_mimi(folder: Path) -> MimiModel:
    """Mimi in the sizes of ``mimi_config.json`` if there, with the first 8 codebooks in use."""
    if not (folder / "mimi_config.json").exists():  # a published file, which carries no sizes
        mimi = loaders.get_mimi(None)
        mimi.load_state_dict(load_file(folder / MIMI_FILE), strict=True)
        return mimi.eval()
    config = json.loads((folder / "mimi_config.json").read_text())
    encoder = SEANetEncoder(**config["seanet"])
    mimi = MimiModel(
        encoder,
        SEANetDecoder(**config["seanet"]),
        SplitResidualVectorQuantizer(**config["quantizer"]),
        frame_rate=12.5,
        encoder_frame_rate=24000 / encoder.hop_length,
        sample_rate=24000,
        channels=1,
        causal=True,
        encoder_transformer=ProjectedTransformer(**config["transformer"]),
        decoder_transformer=ProjectedTransformer(**config["transformer"]),
        resample_method="conv",
    )
    mimi.load_state_dict(load_file(folder / MIMI_FILE), strict=True)
    mimi.set_num_codebooks(8)
    return mimi.eval()


def load_detokenizer(folder: Path) -> LFM2AudioDetokenizer:
    """Built directly: the processor's own property moves it to a GPU."""
    config = json.loads((folder / "config.json").read_text())
    # Its sliding layers are full attention to transformers; the window is in the mask it is given.
    kinds = {"sliding_attention": "full_attention"}
    config["layer_types"] = [kinds.get(kind, kind) for kind in config["layer_types"]]
    detokenizer = LFM2AudioDetokenizer(Lfm2Config(**config))
    detokenizer.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
    return detokenizer.eval()


def new_chat(reference: Reference, system: str) -> ChatState:
    """A conversation that holds its system turn."""
    chat = ChatState(reference.processor, dtype=torch.float32)
    chat.new_turn("system")
    chat.add_text(system)
    chat.end_turn()
    return chat


def ask(chat: ChatState, items: Iterable[Item], speech: Path) -> None:
    """Add a user's turn and open the assistant's."""
    chat.new_turn("user")
    for item in items:
        if item.kind == "text":
            chat.add_text(item.value)
        else:
            chat.add_audio(read_wave(speech, item.value), SAMPLE_RATE)
    chat.end_turn()
    chat.new_turn("assistant")


def read_wave(speech: Path, name: str) -> torch.Tensor:
    """A 16 kHz recording of the folder, ``NAME.flac`` or ``NAME.wav``: [1, samples]."""
    (file,) = speech.glob(f"{name}.*")
    samples, rate = soundfile.read(file, dtype="float32")
    if rate != SAMPLE_RATE:
        raise ValueError(f"{file} is at {rate} Hz, not {SAMPLE_RATE}")
    return torch.from_numpy(samples)[None]


def collect(steps: Iterator[torch.Tensor]) -> Reply:
    """What a generate function of the reference yields, as two arrays."""
    modality, tokens = [], []
    for step in steps:
        row = torch.full((8,), -1, dtype=torch.int32)
        row[: step.numel()] = step
        modality.append(LFMModality.TEXT if step.numel() == 1 else LFMModality.AUDIO_OUT)
        tokens.append(row)
    return Reply(torch.tensor(modality, dtype=torch.int32), torch.stack(tokens))


def append(chat: ChatState, reply: Reply) -> None:
    """Put the reply into the conversation and end the turn, as the reference's demo does."""
    spoken = reply.modality == LFMModality.AUDIO_OUT
    chat.append(
        text=reply.tokens[~spoken][:, 0].long()[None],
        audio_out=reply.tokens[spoken].long().T,
        modality_flag=reply.modality.long(),
    )
    chat.end_turn()
