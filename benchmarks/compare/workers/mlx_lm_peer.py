"""mlx-lm's LFM2 with our backbone's shapes and weights, quantised by its own rules."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# (This runs where the peer is installed; it has no stubs.)

from __future__ import annotations

import json
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from graphs import bytes_read, launched
from mlx.utils import tree_flatten
from mlx_lm.models.lfm2 import Model, ModelArgs
from serve import Missing, Peer, Place, Run, serve, timed

POSITIONS, STEPS = 200, 4


def build(original: Path) -> Any:
    """Its model, in the sizes of the checkpoint's backbone."""
    config = json.loads((original / "config.json").read_text("utf-8"))["lfm"]
    known = signature(ModelArgs).parameters
    values = {key: value for key, value in config.items() if key in known}
    values["model_type"] = "lfm2"
    return Model(ModelArgs(**values))


def convert(original: Path, target: Path) -> None:
    """Quantise once, as `mlx_lm.convert` does."""
    model = build(original)
    tensors: Any = mx.load(str(original / "model.safetensors"))
    named = {
        "model." + name.removeprefix("lfm."): value
        for name, value in tensors.items()
        if name.startswith("lfm.")
    }
    model.load_weights(list(model.sanitize(named).items()), strict=True)
    nn.quantize(model, group_size=64, bits=4)
    target.mkdir(parents=True, exist_ok=True)
    part = target / "part.safetensors"
    mx.save_safetensors(str(part), dict(tree_flatten(model.parameters())))
    part.rename(target / "model.safetensors")


class MlxLm(Peer):
    def __init__(self, place: Place) -> None:
        self.place = place
        self.ids = mx.array(np.load(place.heard)["prompt"])[None]
        self.loaded: list[Any] = []
        if not (place.cache / "model.safetensors").exists():
            convert(place.original, place.cache)

    def about(self) -> dict[str, Any]:
        return {
            "stages": ["prefill 75 positions", "text token", "backbone step"],
            "versions": {"mlx-lm": version("mlx-lm"), "mlx": version("mlx")},
        }

    def drop(self) -> None:
        self.loaded.clear()

    def load(self) -> None:
        model = build(self.place.original)
        nn.quantize(model, group_size=64, bits=4)
        model.load_weights(str(self.place.cache / "model.safetensors"))
        if self.place.mode != "counted" and mx.default_device() == mx.cpu:
            # As for mlx-audio: much the faster type beside 4-bit weights on the CPU.
            model.apply(_float32)
        mx.eval(model.parameters())
        self.loaded.append(model)

    def prepare(self, stage: str) -> Run:
        model = self.loaded[0]
        if stage == "prefill 75 positions":
            return timed(lambda: mx.eval(model.model(self.ids, model.make_cache())))
        if stage not in ("text token", "backbone step"):
            raise Missing("no such stage")
        cache = self._cache()
        token = mx.zeros((1, 1), mx.int32)

        def step() -> None:
            mx.eval(model.model(token, cache))

        def text() -> None:
            nonlocal token
            token = mx.argmax(model(token, cache)[:, -1], axis=-1)[None]
            token.item()

        return timed(text if stage == "text token" else step, STEPS)

    def _cache(self) -> list[Any]:
        model = self.loaded[0]
        args, cache = model.args, model.make_cache()
        dtype = model.model.embedding_norm.weight.dtype
        size = args.hidden_size // args.num_attention_heads
        heads = mx.zeros((1, args.num_key_value_heads, POSITIONS, size), dtype)
        for entry in cache:
            if hasattr(entry, "update_and_fetch"):
                entry.update_and_fetch(heads, heads)
                mx.eval(entry.keys, entry.values)
            else:
                entry[0] = mx.zeros((1, args.conv_L_cache - 1, args.hidden_size), dtype)
                mx.eval(entry[0])
        return cache

    def count(self, what: str) -> Any:
        if what not in ("launches", "bytes"):
            raise Missing(f"no count of {what}")
        model, cache = self.loaded[0], self._cache()
        x = model.model.embed_tokens(mx.zeros((1, 1), mx.int32))
        mx.eval(x)

        def step(given: mx.array) -> Any:
            return model.model(None, cache, given)

        if what == "launches":
            return {"backbone step": launched(lambda: step(x))}
        return {"backbone step": bytes_read(step, model, x)}


def _float32(value: mx.array) -> mx.array:
    return value.astype(mx.float32) if mx.issubdtype(value.dtype, mx.floating) else value


if __name__ == "__main__":
    serve(MlxLm(Place.told()))
