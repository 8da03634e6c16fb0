"""How many bits each part gets, as data: the first pattern that matches a layer decides.

A layer that no pattern matches, or whose rows are no multiple of a group, stays in `dtype`, and
so do convolutions and norms. Decoders are kept in `codec_dtype` and compute in float32: bfloat16
has too few bits for sound, float16 holds their weights at the same size.
"""

from dataclasses import dataclass

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """`bits`: pairs of a pattern for "part.path.of.layer" and the bits its weights get."""

    dtype: str
    codec_dtype: str
    bits: tuple[tuple[str, int], ...] = ()
    group_sizes: tuple[int, ...] = (64, 32)


RECIPES = {
    "32": Recipe("float32", "float32"),
    "16": Recipe("bfloat16", "float16"),
    "8": Recipe("bfloat16", "float16", ((r"model\..*|detokenizer\.lfm\..*", 8),)),
    "4": Recipe(
        "bfloat16",
        "float16",
        (
            # Read whole for every token as the text head: 6 bits cost little there.
            (r"model\.lfm\.embed_tokens", 6),
            # Two thirds of all weights, and the most robust.
            (r"model\.lfm\..*", 4),
            # Others found these fragile at 4 bits.
            (r"model\.(conformer|audio_adapter|audio_embedding)\b.*", 8),
            (r"model\.depthformer\.depth_embeddings\..*", 8),
            (r"model\.depthformer\..*", 6),
            (r"detokenizer\.lfm\..*", 8),
        ),
    ),
}
