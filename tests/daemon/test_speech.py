"""`/v1/audio/speech` as OpenAI's clients use it: the engine's sound, in every form, in time."""

import base64
import json
import subprocess
from typing import Any

import numpy as np
import openai
import pytest
import served
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families
from served import Served

from lfm2audio_mlx.engine import Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Sound
from lfm_daemon.encoding import FORMATS, Encoder

client, daemon, engine = served.client, served.daemon, served.engine
no_worker_stays = served.no_worker_stays

SPEECH = "/v1/audio/speech"
TEXT = "Two minutes.\n\nYes!"
PCM_STEP = 2.0**-15  # libsndfile's conversion to 16 bits rounds down, so up to a whole step
SILENT = "turn on the light please and also set a timer for fifty minutes and more"
"""The embedded checkpoint has no sound for it."""


@pytest.fixture(scope="module")
def said(engine: Engine) -> list[Sound]:
    """What the engine itself says."""
    return list(engine.say(TEXT, seed=7))


def samples(sounds: list[Sound]) -> np.ndarray:
    return np.concatenate([sound.samples for sound in sounds])


def encoded(form: str, sounds: list[Sound]) -> bytes:
    encoder = Encoder(form, sounds[0].sample_rate if sounds else 24_000)
    return b"".join([*(encoder.push(sound.samples) for sound in sounds), encoder.finish()])


def decoded(form: str, data: bytes) -> np.ndarray:
    """What ffmpeg hears: 16 bits."""
    told = ["-f", "s16le", "-ar", "24000"] if form == "pcm" else []
    command = ["ffmpeg", "-v", "error", *told, "-i", "-", "-f", "s16le", "-"]
    result = subprocess.run(command, input=data, capture_output=True, check=True)
    assert result.stderr == b""
    return np.frombuffer(result.stdout, "<i2")


def speak(client: OpenAI, text: str = TEXT, voice: Any = "alloy", **more: Any) -> bytes:
    """As bare samples, unless told otherwise."""
    more = {"seed": 7, **more}
    ours = {name: more.pop(name) for name in ("seed", "raw", "keep_alive") if name in more}
    return client.audio.speech.create(
        model="tts-1",
        input=text,
        voice=voice,
        extra_body=ours,
        **{"response_format": "pcm", **more},
    ).content


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_holds_what_the_engine_says(form: Any, client: OpenAI, said: list[Sound]):
    heard = decoded(form, speak(client, response_format=form))
    np.testing.assert_array_equal(heard, decoded(form, encoded(form, said)))
    if form in ("wav", "flac", "pcm"):
        exact = samples(said).clip(-1, 1)
        assert len(heard) == len(exact) and len(exact) > 24_000
        assert np.abs(heard / 2**15 - exact).max() <= PCM_STEP


def test_it_is_mp3_of_a_kind_that_its_header_tells(daemon: Served):
    """Unless told otherwise, as OpenAI's is."""
    reply = daemon.post(SPEECH, {"input": "yes"})
    assert reply.headers["content-type"] == ["audio/mpeg"]
    assert reply.headers["cache-control"] == ["no-store"]
    assert len(decoded("mp3", reply.body)) > 1000


@pytest.mark.parametrize("voice", ["us-male", "uk-female"])
def test_voices_of_the_model(voice: str, client: OpenAI, engine: Engine):
    expected = encoded("pcm", list(engine.say("yes", voice=voice, seed=7)))
    assert speak(client, "yes", voice) == speak(client, "yes", {"id": voice}) == expected


def test_voices_of_openai_are_the_model_s_own(client: OpenAI, engine: Engine):
    expected = encoded("pcm", list(engine.say("yes", seed=7)))
    assert {speak(client, "yes", voice) for voice in ("alloy", "nova", "verse")} == {expected}


def test_an_unknown_voice_is_refused(client: OpenAI):
    with pytest.raises(openai.BadRequestError, match="us-male, uk-female") as refused:
        speak(client, voice="bob")
    assert refused.value.code == "invalid_request"


@pytest.mark.parametrize("raw", [False, True])
def test_numbers_are_words_unless_raw(raw: bool, client: OpenAI, engine: Engine):
    expected = encoded("pcm", list(engine.say("2 min.", raw=raw, seed=7)))
    assert speak(client, "2 min.", raw=raw) == expected


def test_without_a_seed_it_is_never_the_same(client: OpenAI):
    assert speak(client, "yes", seed=None) != speak(client, "yes", seed=None)


def test_what_changes_nothing_is_passed_over(client: OpenAI, said: list[Sound]):
    assert speak(client, speed=1.0, instructions="Sadly.") == encoded("pcm", said)


def counted(daemon: Served, outcome: str) -> float:
    """Speeches that ended so."""
    for family in text_string_to_metric_families(daemon.curl("/metrics").body.decode()):
        for sample in family.samples:
            if sample.labels == {"job": "say", "outcome": outcome}:
                return sample.value if sample.name.endswith("_total") else 0.0
    return 0.0


@pytest.mark.parametrize("form", ["mp3", "pcm"])
def test_it_comes_while_it_is_made_and_ends_when_nobody_listens(
    form: Any, client: OpenAI, daemon: Served
):
    before = counted(daemon, "cancelled")
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", input="Two minutes.\n\n" * 99, voice="alloy", response_format=form
    ) as response:
        pieces = response.iter_bytes(1024)
        assert next(pieces) and daemon.health()["queue"] == 1
    daemon.until("ready")
    assert counted(daemon, "cancelled") == before + 1


def test_as_events(daemon: Served, said: list[Sound]):
    wanted = {"input": TEXT, "seed": 7, "response_format": "pcm", "stream_format": "sse"}
    reply = daemon.post(SPEECH, wanted)
    assert reply.headers["content-type"] == ["text/event-stream; charset=utf-8"]
    lines = reply.body.split(b"\n\n")
    assert lines.pop() == b""
    *deltas, done = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    assert {each["type"] for each in deltas} == {"speech.audio.delta"} and len(deltas) > 5
    data = b"".join(base64.b64decode(each["audio"]) for each in deltas)
    assert data == encoded("pcm", said)
    assert done == {"type": "speech.audio.done"}


@pytest.mark.parametrize("text", ["?!", "\n\t ", "\u200b", "😀", "&", "\0"])
def test_symbols_alone_are_as_the_engine_takes_them(text: str, client: OpenAI, engine: Engine):
    try:
        expected = encoded("pcm", list(engine.say(text, seed=7)))
    except RequestError as error:
        with pytest.raises(openai.BadRequestError, match=str(error)):
            speak(client, text)
    else:
        assert speak(client, text) == expected


@pytest.mark.parametrize("form", FORMATS)
def test_where_the_model_says_nothing_there_is_a_moment_of_silence(
    form: Any, client: OpenAI, engine: Engine
):
    assert not list(engine.say(SILENT, seed=7))
    heard = decoded(form, speak(client, SILENT, response_format=form))
    assert 0 < len(heard) < 2500 and np.abs(heard).max() < 5


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": "a" * 1_000_001}, "input"),
        ({"speed": 1.25}, "speed"),
        ({"response_format": "aac"}, "response_format"),
        ({"voice": {}}, "voice.VoiceId.id"),
        ({"stream": True}, "stream"),
        ({"model": None, "keep_alive": "soon"}, None),
    ],
)
def test_what_cannot_be_done_is_refused(more: Any, param: str | None, daemon: Served):
    reply = daemon.post(SPEECH, {"input": "yes", **more})
    assert (reply.status, reply.error["param"]) == (400, param)


def test_a_text_of_a_million_characters_is_taken(client: OpenAI):
    assert speak(client, "yes" + " " * 999_997) == speak(client, "yes")


def test_what_is_said_goes_nowhere_but_to_the_client(daemon: Served):
    assert not daemon.spooled
