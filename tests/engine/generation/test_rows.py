"""Several texts at once are those that each would be alone."""

from pathlib import Path

import pytest

import parity
from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.rows import Row, Rows
from lfm2audio_mlx.models.compiled import compiling
from lfm2audio_mlx.tokens import SpecialTokens

SPECIAL = SpecialTokens(start_of_text=1, turn_start=6, turn_end=7, audio_start=128, text_end=130)


def asked(engine: Engine, path: Path) -> Cursor:
    return engine.asked_for_words(path, None)[0]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_rows_are_what_each_is_alone(
    nano: Engine, transcripts: dict[Path, str], size: int, compiled: bool
):
    """More recordings than rows, of different lengths: rows are used again."""
    paths = list(transcripts)[:7]
    alone = [nano.hear(path) for path in paths]
    with compiling(compiled):
        rows = Rows(nano.steps, nano.tokenizer.special, size)
        assert rows.idle
        begun: list[Row] = []
        for path in paths:
            while rows.full:
                rows.step()
            begun.append(rows.add(asked(nano, path), 200))
        assert not rows.idle
        while not rows.idle:
            rows.step()
    assert [tuple(row.tokens) for row in begun] == [span.tokens for span in alone]
    assert all(row.complete and row.done for row in begun)


def test_a_row_beyond_its_cache_goes_on(engines: dict[str, Engine]):
    """One that crosses the 256 positions of its cache, beside one that is far from them."""
    engine = engines["v1"]
    special = SpecialTokens(1, 6, -1, -1, -1)  # random weights would end anywhere
    clip = parity.speech("time")

    def run(size: int, texts: list[str]) -> list[list[int]]:
        rows = Rows(engine.steps, special, size)
        begun = [rows.add(engine._begin(text, [engine.listen(clip)]), 60) for text in texts]
        while not rows.idle:
            rows.step()
        return [row.tokens for row in begun]

    prompts = ["word " * 60, "short"]
    lengths = [engine._begin(text, [engine.listen(clip)]).position for text in prompts]
    assert lengths[0] < 256 < lengths[0] + 60
    assert lengths[1] + 60 < 256
    assert run(2, prompts) == [run(1, [prompt])[0] for prompt in prompts]


def test_no_more_rows_are_computed_than_are_needed(nano: Engine, transcripts: dict[Path, str]):
    rows, widths = Rows(nano.steps, nano.tokenizer.special, 8), list[int]()
    for path in list(transcripts)[:6]:
        rows.add(asked(nano, path), 200)
        widths.append(rows._drawn.shape[0])
    assert widths == [1, 2, 4, 4, 8, 8]


def test_rows_that_ended_are_given_once(nano: Engine, transcripts: dict[Path, str]):
    rows = Rows(nano.steps, nano.tokenizer.special, 2)
    begun = [rows.add(asked(nano, path), 200) for path in list(transcripts)[:2]]
    ended: list[Row] = []
    while not rows.idle:
        ended += rows.step()
    assert sorted(map(id, ended)) == sorted(map(id, begun))
    assert rows.step() == []


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        ([5, 6, 7], Row(0, 9, [5, 6], done=True, complete=True)),
        ([5, 128], Row(0, 9, [5], done=True, speaking=True)),
        ([5, 6, 8], Row(0, 3, [5, 6, 8], done=True)),
        ([5, 6, 8], Row(0, 4, [5, 6, 8])),
        ([5, 9] * 12, Row(0, 99, [5, 9], done=True, loop=True)),
    ],
)
def test_a_row_ends_in_one_of_four_ways(tokens: list[int], wanted: Row):
    row = Row(0, wanted.limit)
    for token in tokens:
        assert not row.done
        row.push(token, SPECIAL)
    assert vars(row) == vars(wanted)
