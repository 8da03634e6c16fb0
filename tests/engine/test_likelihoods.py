"""Labels get the shares that the model gives them."""

from pathlib import Path

import mlx.core as mx
import pytest
from answering import SHORT

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.generation.prompt import Segment, TextIds, beginning, embed, open_turn, turn
from lfm2audio_mlx.generation.score import log_likelihoods


def test_labels_share_the_probability_that_the_model_gives_each(engines: dict[str, Engine]):
    """Against one prefill of the whole conversation for each label."""
    engine, labels = engines["v1"], ["calm", "very angry indeed", "x"]
    shares = engine.classify(SHORT, labels, question="How is it?")
    assert list(shares) == labels
    assert sum(shares.values()) == pytest.approx(1.0)
    tokens = engine.tokenizer
    logs: list[float] = []
    for label in labels:
        ids = (*tokens.encode(label), tokens.special.turn_end)
        segments: list[Segment] = [
            beginning(tokens),
            *turn(tokens, "system", [engine.config.prompts.chat]),
            *turn(tokens, "user", [engine.listen(SHORT), "How is it?"]),
            open_turn(tokens, "assistant"),
            TextIds(ids),
        ]
        hidden, _ = engine.model.lfm(embed(engine.model, segments))
        logits = engine.model.text_logits(hidden[0, -len(ids) - 1 : -1])
        chosen = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        logs.append(sum(float(chosen[i, id]) for i, id in enumerate(ids)))
    # float32 sums in another order: a part in a thousand of a share.
    wanted = mx.softmax(mx.array(logs)).tolist()
    assert list(shares.values()) == pytest.approx(wanted, rel=1e-3)


def test_the_embedded_checkpoint_finds_the_right_transcript_likelier(
    nano: Engine, transcripts: dict[Path, str]
):
    """With its transcription prompt in place of a question it does not know."""
    path, text = next(iter(transcripts.items()))
    cursor = nano._begin(nano.config.prompts.transcribe, [nano.listen(path)])
    end = nano.tokenizer.special.turn_end
    others = [text, "turn off the bedroom fan", "two zero one"]
    answers = [(*nano.tokenizer.encode(other), end) for other in others]
    right, *wrong = log_likelihoods(nano.model, cursor, answers)
    assert right > max(wrong) + 5


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a"], ["a", " "]])
def test_labels_that_are_none_are_refused(nano: Engine, labels: list[str]):
    with pytest.raises(RequestError, match="labels"):
        nano.classify(SHORT, labels)
