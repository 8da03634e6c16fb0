"""Conversations are checked to the last line before anything is loaded, and become what the
model is to learn."""

import json
from pathlib import Path

import pytest

from lfm2audio_mlx.errors import AudioError, RequestError
from lfm2audio_mlx.generation.prompt import AudioClip, AudioCodes, TextIds
from lfm2audio_mlx.text.tokenizer import Tokenizer
from lfm2audio_mlx.tokens import END_OF_AUDIO
from lfm_convert.original import MIMI_FILE
from lfm_train.codec.codec import open_codec
from lfm_train.dataset import Message, Preparer, read_dataset
from lfm_train.original import open_original

SPEECH = Path(__file__).parents[1] / "data" / "speech"
ASK = {"role": "user", "text": "what time is it"}
ANSWER = {"role": "assistant", "text": "ten"}


def written(folder: Path, *lines: object) -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def test_sounds_are_looked_for_beside_the_file(tmp_path: Path):
    (tmp_path / "a.flac").symlink_to(SPEECH / "time.flac")
    path = written(tmp_path, {"messages": [{"role": "user", "audio": "a.flac"}, ANSWER]})
    (messages,) = read_dataset(path)
    assert messages[0] == Message("user", "", tmp_path / "a.flac")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("words", "no JSON object"),
        ({"turns": []}, "no JSON object"),
        ({"messages": []}, "no list of turns"),
        ({"messages": ["hello"]}, "a turn is no JSON object"),
        ({"messages": [ASK]}, "nobody is the assistant"),
        ({"messages": [{**ANSWER, "sound": "a.wav"}]}, "key 'sound' is unknown"),
        ({"messages": [{"role": "narrator", "text": "so"}]}, "a role is one of"),
        ({"messages": [{"role": "assistant", "text": 3}]}, "text and audio are texts"),
        ({"messages": [{"role": "assistant"}]}, "the assistant says nothing"),
    ],
)
def test_a_line_at_fault_is_named(tmp_path: Path, line: object, said: str):
    path = written(tmp_path, {"messages": [ASK, ANSWER]}, line)
    with pytest.raises(RequestError, match=f"line 2.*{said}"):
        read_dataset(path)


def test_a_recording_that_is_not_there_is_named(tmp_path: Path):
    path = written(tmp_path, {"messages": [{"role": "user", "audio": "gone.wav"}, ANSWER]})
    with pytest.raises(AudioError, match=r"gone\.wav"):
        read_dataset(path)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_conversations_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "data.jsonl"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"data\.jsonl"):
        read_dataset(path)


@pytest.fixture(scope="module")
def preparer(originals: dict[str, Path]) -> Preparer:
    folder = originals["v1"]
    original = open_original(folder)
    codec = open_codec(original.config, folder / MIMI_FILE)
    return Preparer(original.config, Tokenizer(folder), codec)


def test_only_what_the_assistant_says_is_learnt(preparer: Preparer):
    heard = Message("user", "so:", SPEECH / "time.flac")
    (example,) = preparer.examples([[heard, Message("assistant", "ten", None)]])
    learnt = [part.segment for part in example if part.learnt]
    ids = [id for segment in learnt if isinstance(segment, TextIds) for id in segment.ids]
    special, encode = preparer.tokenizer.special, preparer.tokenizer.encode
    assert ids == [*encode("ten"), special.turn_end, *encode("\n")]
    assert sum(isinstance(part.segment, AudioClip) for part in example) == 1


def test_speech_alone_comes_in_one_piece_and_ends(preparer: Preparer):
    (example,) = preparer.examples([[Message("assistant", "", SPEECH / "time.flac")]])
    start, spoken = (part.segment for part in example if part.learnt and not _closes(part.segment))
    assert start == TextIds((preparer.tokenizer.special.audio_start,))
    assert isinstance(spoken, AudioCodes)
    # 18,001 samples at 16 kHz are 27,002 at 24 kHz: 15 frames of 1,920, the last not full.
    assert len(spoken.frames) == 15 + 1
    assert spoken.frames[-1] == (END_OF_AUDIO,) * 8
    size = preparer.config.codebook_size
    assert all(code < size for frame in spoken.frames[:-1] for code in frame)


def _closes(segment: object) -> bool:
    return isinstance(segment, TextIds) and len(segment.ids) > 1


def test_words_and_voice_come_in_turns(preparer: Preparer):
    said = Message("assistant", "one two three four five six seven eight", SPEECH / "time.flac")
    (example,) = preparer.examples([[said]])
    kinds = [type(part.segment) for part in example if part.learnt]
    assert kinds[:4] == [TextIds, AudioCodes, TextIds, AudioCodes]


def test_speech_needs_an_encoder(preparer: Preparer):
    deaf = Preparer(preparer.config, preparer.tokenizer, None)
    with pytest.raises(RequestError, match="no encoder for speech"):
        deaf.examples([[Message("assistant", "", SPEECH / "time.flac")]])
