"""How likely a model finds a given answer."""

import mlx.core as mx

from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.prompt import TextIds, embed
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio

__all__ = ["log_likelihoods"]


def log_likelihoods(
    model: Lfm2Audio, cursor: Cursor, answers: list[tuple[int, ...]]
) -> list[float]:
    """The natural logarithm of the probability that each answer (token ids, the end of the turn
    among them) comes next where `cursor` stands.

    What was said before is computed once; the cursor moves to where an answer begins.

    Raises:
        ContextError: an answer does not fit.
    """
    for answer in answers:
        cursor.check([TextIds(answer)])
    first = cursor.advance(model)
    start = cursor.state
    result: list[float] = []
    for answer in answers:
        hidden = first
        if answer[1:]:
            x = embed(model, [TextIds(answer[:-1])])
            after, _ = model.lfm(x, start)
            hidden = mx.concatenate([first, after[0]])
        logits = model.text_logits(hidden).astype(mx.float32)
        each = mx.take_along_axis(logits, mx.array(answer)[:, None], axis=-1)[:, 0]
        result.append(float((each - mx.logsumexp(logits, axis=-1)).sum()))
    return result
