"""How many bits each part of the model gets, and why, as data.

For each layer the first entry whose pattern matches "part.path.of.layer" decides. What none
matches, or whose rows are no multiple of a group, stays in `dtype`, and so do convolutions and
norms. Decoders keep the rest of their weights in `codec_dtype` and compute in float32: bfloat16
has too few bits for sound, float16 holds their weights at the same size.
"""

from dataclasses import dataclass

__all__ = ["RECIPES", "SHORT_NAMES", "Part", "Recipe"]


@dataclass(frozen=True)
class Part:
    """One kind of layer: what reports call it, which it is, its bits."""

    name: str
    pattern: str
    bits: int


@dataclass(frozen=True)
class Recipe:
    """`group_sizes` in order of preference."""

    name: str
    dtype: str
    codec_dtype: str
    parts: tuple[Part, ...] = ()
    group_sizes: tuple[int, ...] = (64, 32)


_ALL = (
    # Under 1,000,000,000 bytes for all that LFM2-Audio-1.5B needs, codec included.
    Recipe(
        "4bit",
        "bfloat16",
        "float16",
        (
            # Two thirds of all weights, read for every token, and the most robust.
            Part("backbone", r"model\.lfm\.layers\..*", 4),
            # Read whole for every token as the text head, where errors reach the words at once.
            Part("text embedding", r"model\.lfm\.embed_tokens", 6),
            # Others found the encoder fragile at 4 bits; its feed-forward layers are two thirds
            # of it and bear 6.
            Part("encoder", r"model\.conformer\..*\.feed_forward[12]\..*", 6),
            Part("encoder", r"model\.(conformer|audio_adapter)\..*", 8),
            # A sum of eight rows: their errors average out.
            Part("audio embedding", r"model\.audio_embedding", 6),
            # Runs eight times a frame, each time on what it chose before; its tables are heads.
            Part("depthformer", r"model\.depthformer\.depth_embeddings\..*", 8),
            Part("depthformer", r"model\.depthformer\..*", 6),
            # Half of the codec's weights, and not where sound is made: that is convolutions.
            Part("codec", r"(mimi\.decoder_transformer|detokenizer\.lfm)\..*", 8),
        ),
    ),
    Recipe(
        "8bit",
        "bfloat16",
        "float16",
        (
            Part("backbone", r"model\.lfm\.layers\..*", 8),
            Part("text embedding", r"model\.lfm\.embed_tokens", 8),
            Part("encoder", r"model\.(conformer|audio_adapter)\..*", 8),
            Part("audio embedding", r"model\.audio_embedding", 8),
            Part("depthformer", r"model\.depthformer\..*", 8),
            Part("codec", r"(mimi\.decoder_transformer|detokenizer\.lfm)\..*", 8),
        ),
    ),
    Recipe("bf16", "bfloat16", "float16"),
    Recipe("f32", "float32", "float32"),
)

RECIPES = {recipe.name: recipe for recipe in _ALL}

SHORT_NAMES = {"4": "4bit", "8": "8bit", "16": "bf16", "32": "f32"}
"""Recipes by bits a weight."""
