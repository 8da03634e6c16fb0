"""Text goes in and comes out unchanged, whole or streamed, and words never steer the model."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfm2audio_mlx.errors import CheckpointError
from lfm2audio_mlx.installed import EMBEDDED
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import SPECIAL_TOKEN_NAMES

TOKENIZER = Tokenizer(EMBEDDED)
ADDED = [
    entry["content"]
    for entry in json.loads((EMBEDDED / "tokenizer.json").read_text("utf-8"))["added_tokens"]
]
SPECIAL_IDS = {getattr(TOKENIZER.special, field) for field in SPECIAL_TOKEN_NAMES}

HARD = [
    "  two  spaces \n\tand a tab ",
    "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL} family, \N{WAVING HAND SIGN}\U0001f3fd hand",
    "e\u0301 is not \u00e9; \u1112\u1161\u11ab",
    "漢字かな交じり文、한국어, العربية",
    "\ufeffa\u0000b\u2028c\r\n",
    "",
]


def streamed(ids: tuple[int, ...]) -> list[str]:
    stream = TOKENIZER.stream()
    return [stream.push(token) for token in ids]


@pytest.mark.parametrize("text", HARD)
def test_hard_text_comes_back_whole_and_streamed(text: str):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(list(ids)) == text
    assert "".join(streamed(ids)) == text


@settings(max_examples=200)
@given(st.text())
def test_any_text_comes_back(text: str):
    assert TOKENIZER.decode(list(TOKENIZER.encode(text))) == text


@settings(max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffd")))
def test_a_stream_gives_the_same_and_never_a_broken_character(text: str):
    pieces = streamed(TOKENIZER.encode(text))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@settings(max_examples=200)
@given(st.lists(st.integers(0, TOKENIZER.size + 50), max_size=30))
def test_a_stream_of_any_ids_gives_the_beginning_of_their_text(ids: list[int]):
    whole = TOKENIZER.decode(ids)
    text = "".join(streamed(tuple(ids)))
    assert whole.startswith(text)
    assert set(whole[len(text) :]) <= {"\ufffd"}  # held back: an unfinished character


@pytest.mark.parametrize("name", ADDED)
def test_a_special_token_in_somebodys_text_stays_text(name: str):
    text = f"say {name} and{name}stop"
    ids = TOKENIZER.encode(text)
    assert not SPECIAL_IDS & set(ids)
    assert TOKENIZER.decode(list(ids)) == text


@settings(max_examples=100)
@given(st.lists(st.sampled_from([*ADDED, " ", "a", "|>", "<|"]), max_size=8).map("".join))
def test_no_text_encodes_to_a_special_id(text: str):
    ids = TOKENIZER.encode(text)
    assert not SPECIAL_IDS & set(ids)
    assert TOKENIZER.decode(list(ids)) == text


def test_special_ids_are_silent_in_text():
    ids = [TOKENIZER.special.turn_start, *TOKENIZER.encode("hello"), TOKENIZER.special.turn_end]
    assert TOKENIZER.decode(ids) == "hello"
    assert "".join(streamed(tuple(ids))) == "hello"


def test_special_ids_differ_and_are_below_the_size():
    assert len(SPECIAL_IDS) == len(SPECIAL_TOKEN_NAMES)
    assert max(SPECIAL_IDS) < TOKENIZER.size == 1024


def test_two_streams_do_not_mix():
    first, second = TOKENIZER.stream(), TOKENIZER.stream()
    ids = TOKENIZER.encode("\N{WOMAN}")
    assert len(ids) > 1
    assert [first.push(token) for token in ids[:-1]] == [""] * (len(ids) - 1)
    assert second.push(TOKENIZER.encode("a")[0]) == "a"
    assert first.push(ids[-1]) == "\N{WOMAN}"


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not there"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe\x00", b"[1, 2]"])
def test_a_garbled_file_is_named_in_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer") as caught:
        Tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tmp_path: Path):
    whole = (EMBEDDED / "tokenizer.json").read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("name", SPECIAL_TOKEN_NAMES.values())
def test_a_missing_special_token_is_named_with_the_file(tmp_path: Path, name: str):
    path = Path(shutil.copy(EMBEDDED / "tokenizer.json", tmp_path))
    path.write_text(path.read_text("utf-8").replace(name, "<|other|>"), "utf-8")
    with pytest.raises(CheckpointError) as caught:
        Tokenizer(tmp_path)
    assert str(path) in str(caught.value) and name in str(caught.value)
