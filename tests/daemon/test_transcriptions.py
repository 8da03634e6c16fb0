"""`/v1/audio/transcriptions` as OpenAI's clients use it: the engine's words, in every form."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import served
import soundfile
from openai import OpenAI
from served import RECORDINGS, Served

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.results import Span, Transcript
from lfm2audio_mlx.text.subtitles import render
from lfm_daemon.routes.transcriptions import _events
from lfm_daemon.values import encode
from lfm_daemon.wire import Frame

client, daemon, engine = served.client, served.daemon, served.engine
no_worker_stays = served.no_worker_stays

ONE = RECORDINGS / "seen_00.wav"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
RATE = 16_000


def talk(path: Path, count: int) -> Path:
    """So many recordings in one, with pauses between them."""
    pieces: list[np.ndarray] = []
    for source in sorted(RECORDINGS.glob("seen_*"))[:count]:
        samples, rate = soundfile.read(source, dtype="float32")
        assert rate == RATE
        pieces += [samples, np.zeros(RATE, np.float32)]
    soundfile.write(path, np.concatenate(pieces), RATE)
    return path


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return talk(tmp_path_factory.mktemp("sound") / "short talk.wav", 3)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than a span, and large enough to let others go first."""
    path = talk(tmp_path_factory.mktemp("sound") / "long.wav", 11)
    assert path.stat().st_size > 1 << 20
    return path


@pytest.fixture(scope="module")
def heard(engine: Engine, short: Path) -> Transcript:
    """What the engine itself hears in the short talk."""
    transcript = engine.transcribe(short)
    assert len(transcript.spans) > 1
    return transcript


def test_the_words_are_those_that_were_said(client: OpenAI, transcripts: dict[Path, str]):
    for path, words in list(transcripts.items())[:3]:
        assert client.audio.transcriptions.create(model="nano", file=path).text == words


def test_json(client: OpenAI, short: Path, heard: Transcript):
    found = client.audio.transcriptions.create(model="nano", file=short)
    assert found.text == heard.text
    assert found.usage and found.usage.type == "duration"
    assert found.usage.seconds == round(heard.duration)


@pytest.mark.parametrize(("form", "ours"), [("text", "txt"), ("srt", "srt"), ("vtt", "vtt")])
def test_text_and_subtitles(form: Any, ours: str, client: OpenAI, short: Path, heard: Transcript):
    create = client.audio.transcriptions.create
    assert create(model="nano", file=short, response_format=form) == render(heard, ours)


def test_verbose_json(client: OpenAI, short: Path, heard: Transcript):
    found = client.audio.transcriptions.create(
        model="nano",
        file=short,
        response_format="verbose_json",
        timestamp_granularities=["segment"],
    )
    assert (found.text, found.language) == (heard.text, "english")
    assert found.duration == heard.duration and found.words is None
    assert [(s.id, s.start, s.end, s.text, tuple(s.tokens)) for s in found.segments or ()] == [
        (n, round(s.start, 3), round(s.end, 3), s.text, s.tokens) for n, s in enumerate(heard.spans)
    ]


def events(client: OpenAI, path: Path, **more: Any) -> list[Any]:
    with client.audio.transcriptions.create(
        model="nano", file=path, stream=True, extra_body=more
    ) as stream:
        return list(stream)


def test_a_long_recording_in_deltas(client: OpenAI, engine: Engine, long: Path):
    expected = engine.transcribe(long)
    *deltas, done = events(client, long)
    assert {each.type for each in deltas} == {"transcript.text.delta"}
    assert len(deltas) == sum(bool(span.text) for span in expected.spans) > 5
    assert "".join(each.delta for each in deltas) == expected.text
    assert (done.type, done.text) == ("transcript.text.done", expected.text)
    assert done.usage.seconds == round(expected.duration)


def test_progress(client: OpenAI, short: Path, heard: Transcript):
    found = events(client, short, progress="true")
    told = [each for each in found if each.type == "transcript.progress"]
    assert {each.duration for each in told} == {heard.duration}
    times = [each.done for each in told]
    assert times == sorted(times) and len(times) > heard.duration
    assert (times[0], times[-1]) == (0.0, heard.duration)
    # Words come as they are heard, not at the end.
    kinds = [each.type for each in found]
    assert kinds.index("transcript.text.delta") < kinds.index("transcript.progress", 5)


def test_a_long_recording_keeps_nobody_waiting(client: OpenAI, daemon: Served, long: Path):
    with client.audio.transcriptions.create(model="nano", file=long, stream=True) as stream:
        assert next(iter(stream)).type == "transcript.text.delta"
        assert client.audio.transcriptions.create(model="nano", file=ONE).text
        assert daemon.health()["queue"] == 1
    daemon.until("ready")


def test_a_span_without_words_is_no_delta():
    async def frames() -> AsyncIterator[Frame]:
        for number, words in enumerate(("", "a", "", "b")):
            yield encode(Span(number, number + 1, words))

    async def told() -> list[Any]:
        found = [event async for event in _events(frames(), progress=False)]
        return [json.loads(event.removeprefix(b"data: ")) for event in found]

    *deltas, done = asyncio.run(told())
    assert [each["delta"] for each in deltas] == ["a", " b"] and done["text"] == "a b"


def test_silence(daemon: Served, tmp_path: Path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    file = ("-F", f"file=@{tmp_path}/silence.wav")
    assert daemon.curl(TRANSCRIPTIONS, *file).json()["text"] == ""
    for form, text in (("text", b""), ("srt", b""), ("vtt", b"WEBVTT\n")):
        assert daemon.curl(TRANSCRIPTIONS, *file, "-F", f"response_format={form}").body == text
    (event,) = daemon.curl(TRANSCRIPTIONS, *file, "-F", "stream=true").body.splitlines()[::2]
    assert json.loads(event.removeprefix(b"data: "))["type"] == "transcript.text.done"


@pytest.mark.parametrize("kind", ["m4a", "mp3", "flac", "opus"])
def test_files_of_all_kinds(kind: str, client: OpenAI, engine: Engine, tmp_path: Path):
    path = tmp_path / f"alarm.{kind}"
    command = ["ffmpeg", "-v", "error", "-i", str(ONE), str(path)]
    subprocess.run(command, check=True)
    found = client.audio.transcriptions.create(model="nano", file=path)
    assert found.text == engine.transcribe(path).text == "alarm set for five thirty"


def test_what_changes_nothing_is_passed_over(client: OpenAI):
    found = client.audio.transcriptions.create(
        model="whisper-1",
        file=ONE,
        language="de",
        prompt="Bitte",
        temperature=0.7,
        chunking_strategy="auto",
    )
    assert found.text == "alarm set for five thirty"


FLAC = (RECORDINGS / "seen_01.flac").read_bytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("notes.txt", b"Not a sound at all. " * 99),
        ("empty.wav", b""),
        ("head.wav", ONE.read_bytes()[:30]),
        ("moment.wav", ONE.read_bytes()[:60]),
        ("größe 1.mp3", b"\xff\xfb" * 50),
        ("../../up.wav", b""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_sound_is_refused_by_its_own_name(
    name: str, data: bytes, stream: bool, client: OpenAI, daemon: Served
):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="nano", file=(name, data), stream=stream)
    assert refused.value.code == "invalid_audio"
    assert str(daemon.home) not in str(refused.value.body)
    assert refused.value.message.partition(" - ")[2].startswith(f"{name}: ")
    assert not daemon.spooled


def test_a_file_that_breaks_off_is_refused_when_that_is_seen(client: OpenAI, tmp_path: Path):
    path = tmp_path / "cut.flac"
    path.write_bytes(FLAC[:2000])
    with pytest.raises(openai.BadRequestError, match=r"cut.flac: "):
        client.audio.transcriptions.create(model="nano", file=path)
    with pytest.raises(openai.APIError, match=r"^cut.flac: ") as refused:
        events(client, path)
    assert refused.value.code == "invalid_audio"


def test_a_name_does_not_write_to_a_terminal(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="nano", file=("a\x1b[31mb\n\u202ec", b""))
    assert refused.value.message.endswith(" a[31mb%0Ac: is empty")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities.0"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"temperature": 2}, "temperature"),
        ({"include": ["logprobs"]}, "include"),
        ({"response_format": "srt", "stream": True}, "response_format"),
        ({"extra_body": {"beam_size": 5}}, "beam_size"),
        ({"extra_body": {"keep_alive": "soon"}}, None),
    ],
)
def test_what_cannot_be_done_is_refused(fields: Any, param: str | None, client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="nano", file=ONE, **fields)
    assert (refused.value.param, refused.value.code) == (param, "invalid_request")


FORM = "Content-Type: multipart/form-data"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["-F", f"file=@{ONE}", "-F", f"file=@{ONE}"], 400, "Too many files"),
        (["-F", f"file=@{ONE}", "-F", f"model=@{ONE}"], 400, "Too many files"),
        (["-F", f"model=@{ONE}"], 400, "file: is missing"),
        (["-F", "model=nano"], 400, "file: is missing"),
        (["-F", "file=words"], 400, "file: is missing"),
        (["-F", f"file=@{ONE}", "-F", f"prompt={'a' * 70_000}"], 400, "exceeded maximum size"),
        (["-F", f"file=@{ONE}", *(f"-Fa{n}=" for n in range(33))], 400, "Too many fields"),
        (["-d", "model=nano"], 415, "multipart/form-data"),
        (["--json", "{}"], 415, "multipart/form-data"),
        (["-X", "POST"], 415, "multipart/form-data"),
        (["-d", "a", "-H", FORM], 400, "Missing boundary"),
        (["-d", "a", "-H", f"{FORM}; boundary=b"], 400, "Invalid multipart"),
        (["-d", "--b--", "-H", f"{FORM}; boundary=b"], 400, "file: is missing"),
    ],
)
def test_what_is_no_form_is_refused(
    arguments: list[str], status: int, message: str, daemon: Served
):
    reply = daemon.curl(TRANSCRIPTIONS, *arguments)
    assert reply.status == status and message in reply.error["message"]
    assert reply.error["code"] == "invalid_request"
    assert not daemon.spooled


def test_lists_may_have_brackets_and_nothing_else_may(daemon: Served):
    def status(field: str) -> int:
        return daemon.curl(TRANSCRIPTIONS, "-F", f"file=@{ONE}", "-F", field).status

    assert status("timestamp_granularities=segment") == 200
    assert status("timestamp_granularities[]=segment") == 200
    assert status("timestamp_granularities[]=word") == 400
    assert status("model[]=nano") == 400
