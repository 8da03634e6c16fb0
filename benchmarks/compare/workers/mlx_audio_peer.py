"""mlx-audio's LFM2-Audio, quantised by its own rules, its Mimi streaming in float32.

On the CPU what is not quantised is turned to float32 after loading, for MLX multiplies 4-bit
weights ten times faster there with float32 than with the bfloat16 they are stored beside.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false, reportMissingTypeStubs=false
# (This runs where the peer is installed.)

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from graphs import bytes_read, launched
from mlx.utils import tree_flatten
from mlx_audio.codec.models.mimi import MimiStreamingDecoder
from mlx_audio.codec.models.mimi.mimi import Mimi, mimi_202407
from mlx_audio.convert import build_quant_predicate
from mlx_audio.sts.models.lfm_audio.config import LFM2AudioConfig
from mlx_audio.sts.models.lfm_audio.model import LFM2AudioModel, LFMModality
from mlx_audio.sts.models.lfm_audio.processor import LFM2AudioProcessor
from serve import Missing, Place, Run, Whole, serve, timed
from syncs import counted

POSITIONS, STEPS = 200, 4
FRAMES = 4
"""Over so many syncs are counted."""


def convert(original: Path, target: Path) -> None:
    """Quantise once, as `mlx_audio.convert` does."""
    config = json.loads((original / "config.json").read_text("utf-8"))
    model = LFM2AudioModel(LFM2AudioConfig.from_dict(config))
    weights = model.sanitize(mx.load(str(original / "model.safetensors")))
    for name, value in list(weights.items()):
        # A tied checkpoint may leave the copies out, which this model wants to be there.
        if name.startswith(("audio_embedding.", "depth_embeddings.")):
            copy = name.replace(".embedding.weight", ".to_logits.weight")
            weights.setdefault(copy, value)
    model.load_weights(list(weights.items()), strict=True)
    nn.quantize(model, group_size=64, bits=4, class_predicate=build_quant_predicate(model))
    target.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(target / "model.safetensors"), dict(tree_flatten(model.parameters())))
    # Last: with it the folder is complete.
    config["quantization"] = {"group_size": 64, "bits": 4}
    (target / "config.json").write_text(json.dumps(config), "utf-8")


class MlxAudio(Whole):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.material = np.load(place.heard)
        self.loaded: list[tuple[Any, Any, Any]] = []
        if not (place.cache / "config.json").exists():
            convert(place.original, place.cache)

    def about(self) -> dict[str, Any]:
        return {
            "stages": sorted(["load", *self.actions()]),
            "versions": {"mlx-audio": version("mlx-audio"), "mlx": version("mlx")},
        }

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        model = LFM2AudioModel.from_pretrained(str(self.place.cache))
        if self.place.mode != "counted" and mx.default_device() == mx.cpu:
            model.apply(_float32)
            mx.eval(model.parameters())
        processor = LFM2AudioProcessor(model.config)
        codec = Mimi(mimi_202407(32))
        codec.load_pytorch_weights(str(self.place.codec), strict=True)
        mx.eval(codec.parameters())
        self.loaded.append((model, processor, codec))

    def _question(self) -> mx.array:
        processor = self.loaded[0][1]
        return processor.preprocess_audio(mx.array(self.material["question"]))[None]

    def _mel(self) -> Run:
        return timed(lambda: mx.eval(self._question()))

    def _encode(self) -> Run:
        model, mel = self.loaded[0][0], self._question()
        mx.eval(mel)
        return timed(lambda: mx.eval(model._encode_audio(mel)[0]))

    def _prefill(self) -> Run:
        model, ids = self.loaded[0][0], mx.array(self.material["prompt"])[None]
        return timed(lambda: mx.eval(model._prefill(text_tokens=ids)[0]))

    def _cache(self) -> tuple[list[Any], mx.array]:
        """A conversation of some positions, and the embedding of one more, all zeros."""
        model = self.loaded[0][0]
        embedded = model._embed_text(mx.array([[0]]))
        cache, config = model.make_cache(), model.config.lfm
        size = config.hidden_size // config.num_attention_heads
        heads = mx.zeros((1, config.num_key_value_heads, POSITIONS, size), embedded.dtype)
        for entry in cache:
            if hasattr(entry, "update_and_fetch"):
                entry.update_and_fetch(heads, heads)
                mx.eval(entry.keys, entry.values)
            else:
                entry[0] = mx.zeros((1, 2, config.hidden_size), embedded.dtype)
                mx.eval(entry[0])
        mx.eval(embedded)
        return cache, embedded

    def _step(self, cache: list[Any], embedded: mx.array) -> mx.array:
        model = self.loaded[0][0]
        return model.lfm(inputs=None, cache=cache, input_embeddings=embedded)

    def _said(self, cache: list[Any], word: mx.array) -> mx.array:
        """The word [1] after one that was said."""
        model = self.loaded[0][0]
        hidden = self._step(cache, model._embed_text(word[:, None]))
        return model._sample_text_token(model.lfm.embed_tokens.as_linear(hidden)[:, -1, :])

    def _text(self) -> Run:
        cache, word = self._cache()[0], mx.array([0])

        def token() -> None:
            nonlocal word
            word = self._said(cache, word)
            word.item()

        return timed(token, STEPS)

    def _backbone(self) -> Run:
        cache, embedded = self._cache()
        return timed(lambda: mx.eval(self._step(cache, embedded)), STEPS)

    def _hidden(self) -> mx.array:
        model = self.loaded[0][0]
        hidden = mx.random.normal((1, 1, model.config.lfm.hidden_size), key=mx.random.key(0))
        hidden = hidden.astype(model._embed_text(mx.array([0])).dtype)
        mx.eval(hidden)
        return hidden

    def _depth(self) -> Run:
        model, hidden = self.loaded[0][0], self._hidden()
        return timed(lambda: np.array(model._sample_audio_frame(hidden)[0]), STEPS)

    def _codes(self) -> mx.array:
        return mx.zeros((1, 8, 1), mx.int32)

    def _codec(self) -> Run:
        decoder, codes = MimiStreamingDecoder(self.loaded[0][2]), self._codes()
        return timed(lambda: np.array(decoder.decode_frames(codes)), STEPS)

    def _answer(self, mel: mx.array | None) -> Iterator[tuple[mx.array, Any]]:
        """Words and frames, as its own loop gives them, behind a prompt with the question."""
        before, after = self.material["before"], self.material["after"]
        positions = 0 if mel is None else -(-mel.shape[1] // 8)
        flags = [LFMModality.TEXT] * len(before) + [LFMModality.AUDIO_IN] * positions
        flags += [LFMModality.TEXT] * len(after)
        return self.loaded[0][0].generate_interleaved(
            text_tokens=mx.array(np.concatenate([before, after]))[None],
            audio_features=mel,
            modalities=mx.array([int(flag) for flag in flags])[None],
        )

    def _first_audio(self) -> Run:
        decoder = MimiStreamingDecoder(self.loaded[0][2])

        def run() -> None:
            decoder.reset()
            for token, modality in self._answer(self._question()):
                if modality == LFMModality.AUDIO_OUT:
                    np.array(decoder.decode_frames(token[None, :, None]))
                    return
            raise Missing("the model did not speak")

        return timed(run)

    def figures(self) -> dict[str, Callable[[], Any]]:
        return {"launches": self._launches, "bytes": self._bytes, "syncs": self._syncs}

    def _launches(self) -> dict[str, int]:
        model, _, codec = self.loaded[0]
        cache, embedded = self._cache()
        hidden, codes, decoder = self._hidden(), self._codes(), MimiStreamingDecoder(codec)
        # Once each, so that tables it makes at first use are there.
        mx.eval(model._sample_audio_frame(hidden)[0])
        for _ in range(2):
            mx.eval(decoder.decode_frames(codes))
        return {
            "text token": launched(lambda: self._said(self._cache()[0], mx.array([0]))),
            "backbone step": launched(lambda: self._step(cache, embedded)),
            "depth frame": launched(lambda: model._sample_audio_frame(hidden)[0]),
            "codec frame": launched(lambda: decoder.decode_frames(codes)),
        }

    def _bytes(self) -> dict[str, int]:
        model = self.loaded[0][0]
        cache, embedded = self._cache()
        return {
            "backbone step": bytes_read(lambda x: self._step(cache, x), model, embedded),
            "depth frame": bytes_read(
                lambda x: model._sample_audio_frame(x)[0], model, self._hidden()
            ),
        }

    def _syncs(self) -> dict[str, Any]:
        """Syncs per frame of its own loop with its streaming decoder behind it."""
        decoder, frames, marks = MimiStreamingDecoder(self.loaded[0][2]), 0, list[int]()
        with counted() as syncs:
            for token, modality in self._answer(None):
                if modality == LFMModality.AUDIO_OUT:
                    # The decoder takes no end of audio, which random weights may well choose.
                    codes = mx.minimum(token, 2047)[None, :, None]
                    np.array(decoder.decode_frames(codes))
                    marks.append(syncs.total)
                    frames += 1
                if frames > FRAMES:
                    break
        if len(marks) < 2:
            raise Missing("the model did not speak")
        per_frame = (marks[-1] - marks[0]) / (len(marks) - 1)
        return {"per frame": per_frame, "places": dict(syncs.places)}


def _float32(value: mx.array) -> mx.array:
    return value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value


if __name__ == "__main__":
    serve(MlxAudio(Place.told()))
