"""liquid-audio in torch: the reference, unquantised, on all cores (or the GPU where there is one).

On the CPU it runs in float32 or bfloat16, whichever multiplies faster on this machine.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
# (This runs where the peer is installed.)

from __future__ import annotations

import math
import os
import time
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from liquid_audio import LFM2AudioModel, LFM2AudioProcessor, LFMModality
from liquid_audio.model import lfm2_audio
from liquid_audio.model.conformer import encoder
from safetensors.torch import load_file
from serve import Missing, Place, Run, Whole, serve, timed

POSITIONS, STEPS = 200, 4
WIDTH, INNER = 2048, 8192
"""Of the backbone's feed-forward: what most of the time goes into."""

# liquid-audio 1.3.0 lost this import, without which one of its options is a NameError.
encoder.math = math
# Its loader insists on metadata that only a file written by torch has.
lfm2_audio.load_checkpoint_in_model = lambda model, folder: model.load_state_dict(
    load_file(folder / "model.safetensors"), strict=False
)


class Torch(Whole):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.material = np.load(place.heard)
        torch.set_grad_enabled(False)
        torch.set_num_threads(os.cpu_count() or 1)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else _faster()
        self.loaded: list[tuple[Any, Any]] = []

    def about(self) -> dict[str, Any]:
        return {
            "stages": sorted(["load", *self.actions()]),
            "versions": {"liquid-audio": version("liquid-audio"), "torch": torch.__version__},
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
        }

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        folder = self.place.original
        model = LFM2AudioModel.from_pretrained(folder, device=self.device, dtype=self.dtype).eval()
        processor = LFM2AudioProcessor.from_pretrained(folder, device=self.device).eval()
        processor.mimi.eval().streaming_forever(1)
        self.loaded.append((model, processor))

    def _timed(self, action: Any, times: int = 1) -> Run:
        def finished() -> None:
            action()
            if self.device == "cuda":
                torch.cuda.synchronize()

        return timed(finished, times)

    def _features(self) -> torch.Tensor:
        """Log-mel [128, T] of the question."""
        wave = torch.from_numpy(self.material["question"])[None].to(self.device)
        length = torch.tensor([wave.shape[1]], device=self.device)
        return self.loaded[0][1].audio(wave, length)[0][0].to(self.dtype)

    def _mel(self) -> Run:
        return self._timed(self._features)

    def _encode(self) -> Run:
        model, mel = self.loaded[0][0], self._features()
        lengths = torch.tensor([mel.shape[1]], device=self.device)
        return self._timed(lambda: model.audio_adapter(model.conformer(mel[None], lengths)[0].mT))

    def _ids(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.material[name])[None].to(self.device)

    def _prefill(self) -> Run:
        model, ids = self.loaded[0][0], self._ids("prompt")
        return self._timed(
            lambda: model.lfm(inputs_embeds=model.lfm.embed_tokens(ids), use_cache=True)
        )

    def _stepper(self) -> Any:
        """A function of one embedding to the last hidden state, behind some positions."""
        lfm = self.loaded[0][0].lfm
        ids = torch.arange(POSITIONS, device=self.device)[None]
        cache = lfm(inputs_embeds=lfm.embed_tokens(ids), use_cache=True).past_key_values

        def step(embedded: torch.Tensor) -> torch.Tensor:
            out = lfm(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
            return out.last_hidden_state

        return step

    def _backbone(self) -> Run:
        step, embedded = self._stepper(), self.loaded[0][0].lfm.embed_tokens(self._ids("prompt"))
        return self._timed(lambda: step(embedded[:, :1]), STEPS)

    def _text(self) -> Run:
        model, step = self.loaded[0][0], self._stepper()
        token = torch.zeros(1, dtype=torch.long, device=self.device)

        def run() -> None:
            nonlocal token
            hidden = step(model.lfm.embed_tokens(token)[None])[0, -1]
            logits = torch.nn.functional.linear(hidden, model.lfm.embed_tokens.weight)
            token = model._sample_text_token(logits)
            token.item()

        return self._timed(run, STEPS)

    def _depth(self) -> Run:
        model = self.loaded[0][0]
        hidden = torch.randn(WIDTH, dtype=self.dtype, device=self.device)
        return self._timed(lambda: model._sample_audio_frame(hidden).cpu(), STEPS)

    def _codec(self) -> Run:
        mimi = self.loaded[0][1].mimi
        mimi.reset_streaming()
        codes = torch.zeros((1, 8, 1), dtype=torch.long, device=self.device)
        return self._timed(lambda: mimi.decode(codes).cpu(), STEPS)

    def _first_audio(self) -> Run:
        model, processor = self.loaded[0]

        def run() -> None:
            processor.mimi.reset_streaming()
            mel = self._features()
            positions = -(-mel.shape[1] // 8)
            before, after = self._ids("before"), self._ids("after")
            flags = [LFMModality.TEXT] * before.shape[1] + [LFMModality.AUDIO_IN] * positions
            flags += [LFMModality.TEXT] * after.shape[1]
            answer = model.generate_interleaved(
                text=torch.cat([before, after], 1),
                audio_in=mel,
                audio_in_lens=torch.tensor([mel.shape[1]], device=self.device),
                audio_out=torch.zeros((8, 0), dtype=torch.long, device=self.device),
                modality_flag=torch.tensor([[int(f) for f in flags]], device=self.device),
            )
            for token in answer:
                if token.numel() > 1:
                    processor.mimi.decode(token.clamp(max=2047)[None, :, None]).cpu()
                    return
            raise Missing("the model did not speak")

        return self._timed(run)


def _faster() -> torch.dtype:
    """The type in which a prefill and some steps of one layer take less time."""

    def took(dtype: torch.dtype) -> float:
        weight = torch.randn((INNER, WIDTH)).to(dtype)
        rows, row = torch.randn((75, WIDTH)).to(dtype), torch.randn((1, WIDTH)).to(dtype)
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            torch.nn.functional.linear(rows, weight)
            for _ in range(10):
                torch.nn.functional.linear(row, weight)
            best = min(best, time.perf_counter() - start)
        return best

    return min((torch.float32, torch.bfloat16), key=took)


if __name__ == "__main__":
    serve(Torch(Place.told()))
