"""The façade: its three jobs, conversations of many turns, and what it refuses."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

import parity
from lfm2audio_mlx.engine import (
    CHAT_VOICE,
    SAY_VOICE,
    Chat,
    Engine,
    Mode,
)
from lfm2audio_mlx.errors import AudioError, ContextError, LfmError, RequestError
from lfm2audio_mlx.generation.cursor import Cursor
from lfm2audio_mlx.generation.decode import AudioFrame, EndOfTurn, Event, TextToken, generate
from lfm2audio_mlx.generation.prompt import (
    AudioClip,
    AudioCodes,
    Segment,
    TextIds,
    beginning,
    close_turn,
    embed,
    open_turn,
    turn,
)
from lfm2audio_mlx.generation.render import render
from lfm2audio_mlx.generation.schedules import Sequential
from lfm2audio_mlx.generation.score import log_likelihoods
from lfm2audio_mlx.generation.steps import Steps
from lfm2audio_mlx.models.lfm2 import Lfm2, Lfm2State
from lfm2audio_mlx.models.lfm2_audio import Lfm2Audio
from lfm2audio_mlx.results import Progress, Sound, Span, Transcript, Words
from lfm2audio_mlx.sampling import GREEDY, Sampling
from lfm2audio_mlx.tokens import END_OF_AUDIO

SHORT, LONG = parity.speech("time"), parity.speech("volume")


# Transcription


def test_recordings_are_written_down(nano: Engine, transcripts: dict[Path, str]):
    """29 of the 30, as the reference; which ones is asserted by the parity rows. Spans without
    the silence around them are heard as well as whole recordings."""
    heard = {path: nano.transcribe(path) for path in transcripts}
    assert sum(heard[path].text == text for path, text in transcripts.items()) >= 29
    assert all(transcript.complete for transcript in heard.values())
    assert all(len(transcript.spans) == 1 for transcript in heard.values())
    whole = {path: nano.hear(path) for path in transcripts}
    assert sum(whole[path].text == text for path, text in transcripts.items()) >= 29


def test_a_file_its_bytes_and_its_samples_say_the_same(nano: Engine, transcripts: dict[Path, str]):
    import soundfile

    path = next(iter(transcripts))
    samples, rate = soundfile.read(path, dtype="float32")
    heard = [
        nano.transcribe(source) for source in (path, str(path), path.read_bytes(), (samples, rate))
    ]
    assert {transcript.text for transcript in heard} == {transcripts[path]}
    assert heard[0].duration == pytest.approx(len(samples) / rate, abs=0.01)


def test_a_cut_off_text_is_marked(nano: Engine, transcripts: dict[Path, str]):
    path, text = next(iter(transcripts.items()))
    span = nano.hear(path, max_tokens=2)
    assert not span.complete
    assert not span.loop
    assert text.startswith(span.text)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_where_nobody_speaks_there_is_no_text(nano: Engine, level: float):
    noise = np.random.default_rng(0).normal(0, 1, 160_000) * level
    transcript = nano.transcribe((noise.astype(np.float32), 16_000))
    assert (transcript.text, transcript.spans, transcript.duration) == ("", (), 10.0)


@pytest.fixture(scope="module")
def talk(transcripts: dict[Path, str]) -> tuple[np.ndarray, list[str]]:
    """Six sentences with pauses, and the words of each."""
    from lfm2audio_mlx.audio.files import read_audio

    some = [path for path in transcripts if path.stem.startswith("seen")][:6]
    pause = np.zeros(12_000, np.float32)
    parts = [part for path in some for part in (pause, read_audio(path, 16_000))]
    return np.concatenate([*parts, pause]), [transcripts[path] for path in some]


def test_a_long_recording_is_heard_span_by_span(nano: Engine, talk: tuple[np.ndarray, list[str]]):
    samples, texts = talk
    items = list(nano.spans((samples, 16_000)))
    spans = [item for item in items if isinstance(item, Span)]
    told = [(item.done, item.duration) for item in items if isinstance(item, Progress)]
    duration = len(samples) / 16_000
    assert [span.text for span in spans] == texts
    times = [time for span in spans for time in (span.start, span.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= duration
    assert told[0] == (0.0, duration)
    assert told[-1] == (duration, duration)
    assert told == sorted(told)
    assert nano.transcribe((samples, 16_000)).text == " ".join(texts)


def test_spans_that_are_known_are_passed_over(nano: Engine, talk: tuple[np.ndarray, list[str]]):
    sound = (talk[0], 16_000)
    spans = nano.transcribe(sound).spans
    for known in range(len(spans) + 1):
        after = spans[known - 1].end if known else 0.0
        assert Transcript.of(nano.spans(sound, after=after)).spans == spans[known:]


def test_a_loop_is_cut_and_marked(
    nano: Engine, transcripts: dict[Path, str], monkeypatch: pytest.MonkeyPatch
):
    """The words are forced, the rest is real: a trained model does not loop on request."""
    import lfm2audio_mlx.engine as module

    phrase = nano.tokenizer.encode("turn on the kitchen light")
    loop: list[Event] = [TextToken(id) for id in phrase * 100]
    pulled = 0

    def forced(*_: object, **__: object) -> Iterator[Event]:
        nonlocal pulled
        for event in loop:
            pulled += 1
            yield event

    monkeypatch.setattr(module, "generate", forced)
    span = nano.hear(next(iter(transcripts)))
    assert span.loop
    assert not span.complete
    assert span.text == "turn on the kitchen light"
    assert pulled < 40  # it was not let run on


def test_too_short_a_recording_is_refused_by_name(nano: Engine):
    with pytest.raises(AudioError, match="too short"):
        list(nano.spans((np.zeros(100, np.float32), 16_000)))


# Speech


def test_speech_streams_and_a_seed_repeats_it(nano: Engine):
    first = list(nano.say("turn on the kitchen light", seed=3))
    assert len(first) > 5
    assert all(piece.sample_rate == 24_000 for piece in first)
    samples = np.concatenate([piece.samples for piece in first])
    assert np.isfinite(samples).all()
    assert samples.std() > 0.01
    again = np.concatenate([p.samples for p in nano.say("turn on the kitchen light", seed=3)])
    assert np.array_equal(samples, again)
    other = np.concatenate([p.samples for p in nano.say("turn on the kitchen light", seed=4)])
    assert not np.array_equal(samples, other)


def test_voices_are_prompts_of_the_checkpoint(nano: Engine, engines: dict[str, Engine]):
    assert nano.voices == ("us-male", "uk-female")
    assert nano._voice_prompt("uk-female") == "Perform TTS. Use the UK female voice."
    described = engines["v1"]._voice_prompt("An old man whispers.")
    assert described == "Perform TTS.\nUse the following voice: An old man whispers."


@pytest.mark.parametrize("voice", ["nobody", "An old man whispers.", ""])
def test_an_unknown_voice_is_refused_at_once(nano: Engine, voice: str):
    with pytest.raises(RequestError, match="us-male, uk-female"):
        nano.say("hello", voice=voice)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_to_say_is_refused_at_once(nano: Engine, text: str):
    with pytest.raises(RequestError, match="empty"):
        nano.say(text)


def sound_of(pieces: Iterator[Sound]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


def test_a_text_is_spoken_sentence_by_sentence_in_one_seamless_stream(nano: Engine):
    """The sound of the sentences' frames, put one after the other, through one codec stream: so no
    gap, no click, and not a sample more or less."""
    text = "Turn on the kitchen light. Set the volume to thirty nine. Alarm set for seven."
    pieces = list(nano.say(text, seed=3))
    assert sorted({piece.sentence for piece in pieces}) == [0, 1, 2]
    assert [piece.sentence for piece in pieces] == sorted(piece.sentence for piece in pieces)
    whole = sound_of(iter(pieces))
    assert len(whole) % 1920 == 0
    # No step at a seam is larger than the largest within a sentence.
    ends = np.cumsum([len(piece.samples) for piece in pieces])
    seams = [
        ends[i] for i in range(len(pieces) - 1) if pieces[i].sentence != pieces[i + 1].sentence
    ]
    steps = np.abs(np.diff(whole))
    assert max(steps[seam - 2 : seam + 2].max() for seam in seams) < 0.5 * steps.max()


def test_the_first_sound_comes_before_the_second_sentence_is_begun(nano: Engine):
    first = next(iter(nano.say("Turn on the light. " * 50, seed=1)))
    assert first.sentence == 0


def test_numbers_and_markdown_are_read_unless_raw(nano: Engine):
    said = sound_of(nano.say("alarm set for **7**", seed=3))
    assert np.array_equal(said, sound_of(nano.say("alarm set for seven", seed=3)))
    raw = sound_of(nano.say("alarm set for **7**", seed=3, raw=True))
    assert not np.array_equal(said[: len(raw)], raw[: len(said)])


def test_the_detokenizer_gives_whole_frames_at_the_end(engines: dict[str, Engine]):
    engine = engines["v25"]
    frames = [AudioFrame((5, 6, 7, 8, 9, 10, 11, 12))] * 4
    events: list[Event] = [*frames, EndOfTurn("end")]
    pieces = [item for item in heard(engine, events) if isinstance(item, Sound)]
    assert sum(len(piece.samples) for piece in pieces) == 4 * 1920


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_no_frame_is_lost_when_a_limit_ends_the_speech(engines: dict[str, Engine], name: str):
    """Only a frame of 2048s ends the audio; the last frame before a limit is sound."""
    chat = engines[name].chat(audio=GREEDY)
    events = list(chat.events("hello", max_tokens=30))
    spoken = sum(isinstance(e, AudioFrame) and not e.ends_audio for e in events)
    sounds = [item for item in heard(engines[name], events) if isinstance(item, Sound)]
    assert sum(len(sound.samples) for sound in sounds) == 1920 * spoken


# Conversation


def answer(chat: Chat, *parts: object, limit: int = 40) -> list[Event]:
    return list(chat.events(*parts, max_tokens=limit))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["v1", "v25"])
@pytest.mark.parametrize("question", [["hello"], [SHORT], ["listen to this", SHORT]])
@pytest.mark.parametrize("mode", ["sequential", "interleaved"])
def test_words_sound_or_both_go_in_and_words_or_both_come_out(
    engines: dict[str, Engine], name: str, question: list[str | Path], mode: Mode
):
    items = list(engines[name].chat(mode=mode, audio=GREEDY).reply(*question, max_tokens=40))
    assert any(isinstance(item, Words) for item in items)
    if mode == "interleaved":
        assert any(isinstance(item, Sound) for item in items)
    assert isinstance(items[-1], EndOfTurn)


def test_a_spoken_question_is_answered_in_words_and_voice(
    nano: Engine, transcripts: dict[Path, str]
):
    """The embedded checkpoint was trained to confirm what it is asked."""
    path = next(path for path in transcripts if path.stem == "seen_04")
    items = list(nano.chat(audio=GREEDY).reply(path))
    words = "".join(item.text for item in items if isinstance(item, Words))
    assert words == "timer set for twenty one minutes"
    seconds = sum(len(item.samples) for item in items if isinstance(item, Sound)) / 24_000
    assert 1.0 < seconds < 5.0
    assert items[-1] == EndOfTurn("end")


def test_words_and_several_recordings_fit_in_one_turn(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    one = answer(chat, "first", SHORT, "then", LONG)
    other = answer(engines["v1"].chat(audio=GREEDY), "first", LONG, "then", SHORT)
    assert one != other


def said(events: list[Event]) -> list[Segment]:
    """Events as they go back in."""
    segments: list[Segment] = []
    for event in events:
        match event:
            case TextToken(id):
                segments.append(TextIds((id,)))
            case AudioFrame(codes):
                segments.append(AudioCodes((codes,)))
            case EndOfTurn():
                pass
    return segments


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_going_on_equals_a_fresh_prefill_of_the_whole_conversation(
    engines: dict[str, Engine], name: str
):
    engine = engines[name]
    tokens = engine.tokenizer
    questions: list[list[str | Path]] = [[SHORT], ["And now?", LONG], ["Thank you."]]
    chat = engine.chat(audio=GREEDY)
    history: list[Segment] = [
        beginning(tokens),
        *turn(tokens, "system", [engine.config.prompts.chat]),
    ]
    for question in questions:
        continued = answer(chat, *question)
        heard: list[str | AudioClip] = [
            part if isinstance(part, str) else engine.listen(part) for part in question
        ]
        history += [*turn(tokens, "user", heard), open_turn(tokens, "assistant")]
        fresh = Cursor(engine.context)
        fresh.extend(history)
        anew = list(engine._generate(fresh, "interleaved", GREEDY, GREEDY, 40, mx.random.key(0)))
        assert anew == continued
        history += [*said(anew), close_turn(tokens)]


def heard(engine: Engine, events: list[Event]) -> Iterator[Any]:
    """What plain tokens and frames are as words and sound."""
    voice = engine.voice()

    def voiced() -> Iterator[Event]:
        for event in events:
            yield event
            if isinstance(event, AudioFrame) and not event.ends_audio:
                voice.push(mx.array([event.codes]))
                yield from voice.confirm(ended=False)

    return render(voiced(), engine.tokenizer, voice)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions each pass through a backbone has."""
    passes: list[int] = []
    call = Lfm2.__call__

    def counting(
        self: Lfm2, x: mx.array, state: Lfm2State | None = None, length: int | None = None
    ):
        passes.append(length or x.shape[1])
        return call(self, x, state, length)

    def stepping(self: Lfm2, x: mx.array, layers: Any, offsets: mx.array):
        passes.append(x.shape[1])
        return step(self, x, layers, offsets)

    step = Lfm2.step
    monkeypatch.setattr(Lfm2, "__call__", counting)
    monkeypatch.setattr(Lfm2, "step", stepping)
    return passes


def test_the_past_is_never_prefilled_again(engines: dict[str, Engine], seen: list[int]):
    """The backbone sees each position once."""
    chat = engines["v1"].chat(audio=GREEDY)
    seen[:] = [chat.cursor.position]  # the system prompt, which earlier tests may have prefilled
    for question in ("one", "two", "three"):
        answer(chat, question, limit=10)
    assert chat.cursor.state is not None
    assert sum(seen) == chat.cursor.state.offset


def test_a_system_prompt_is_prefilled_once(engines: dict[str, Engine], seen: list[int]):
    engine = engines["v1"]
    first = engine.chat(system="A prompt that no other test has.", audio=GREEDY)
    assert sum(seen) == first.cursor.position > 0
    again = engine.chat(system="A prompt that no other test has.", audio=GREEDY)
    assert sum(seen) == first.cursor.position == again.cursor.position
    assert answer(first, "hello", limit=10) == answer(again, "hello", limit=10)


def test_a_fork_goes_its_own_way(engines: dict[str, Engine]):
    """Both go on as if the other were not there, also when drawn at random."""
    chat, alone = (engines["v1"].chat(seed=7) for _ in range(2))
    answer(chat, "one", limit=20)
    answer(alone, "one", limit=20)
    fork = chat.fork()
    second = answer(chat, "two", limit=20)
    assert answer(fork, "something else", limit=20) != second
    assert answer(alone, "two", limit=20) == second
    assert [e.said for e in fork.exchanges] == [("one",), ("something else",)]
    assert [e.said for e in chat.exchanges] == [("one",), ("two",)]


def test_what_the_model_said_before_matters(engines: dict[str, Engine]):
    """Past speech goes back in as what it was, not as zeros."""
    engine = engines["v1"]
    chat = engine.chat(audio=GREEDY)
    answer(chat, SHORT)
    continued = answer(chat, "And now?")
    silent = engine.chat(audio=GREEDY)
    answer(silent, SHORT)
    silent.cursor.state = None
    silent.cursor.pending = []
    assert answer(silent, "And now?") != continued


def test_an_answer_left_half_way_can_be_followed_by_another_question(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stream: Iterator[Event] = chat.events("hello", max_tokens=40)
    for _ in range(9):
        next(stream)
    position = chat.cursor.position
    assert answer(chat, "go on", limit=5)[-1] == EndOfTurn("length")
    assert chat.cursor.position > position


def test_a_new_question_ends_an_answer_that_is_still_being_given(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stale, never_started = chat.events("hello", max_tokens=40), chat.events("and", max_tokens=40)
    del never_started
    next(fresh := chat.events("go on", max_tokens=5))
    assert list(stale) == []
    assert list(fresh)[-1] == EndOfTurn("length")


def test_cut_off_speech_is_logged(engines: dict[str, Engine], caplog: pytest.LogCaptureFixture):
    list(engines["v1"].say("hello", max_tokens=5))
    assert "cut off: its length is used up" in caplog.text


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_that_is_none_is_refused(nano: Engine, seed: int):
    with pytest.raises(RequestError, match="seed"):
        nano.say("hello", seed=seed)


# Randomness: nothing is drawn twice with one key


class Flat:
    """A model of which every choice is even, so that what is drawn is the keys alone."""

    def __init__(self, engine: Engine):
        self.model = engine.model

    def __enter__(self) -> None:
        self.weights = [
            (table.embedding, table.embedding.weight)
            for table in self.model.depthformer.depth_embeddings
        ]
        for table, weight in self.weights:
            table.weight = mx.zeros_like(weight)

    def __exit__(self, *_: object) -> None:
        for table, weight in self.weights:
            table.weight = weight


def frames_of(events: list[Event]) -> list[tuple[int, ...]]:
    return [event.codes for event in events if isinstance(event, AudioFrame)]


def test_codebooks_steps_and_turns_each_draw_for_themselves(engines: dict[str, Engine]):
    engine = engines["v1"]
    with Flat(engine):
        chat = engine.chat(audio=Sampling(1.0), seed=5)
        first, second = frames_of(answer(chat, "one")), frames_of(answer(chat, "one"))
    # Even draws from 2,048 codes: equal neighbours would be a key used twice.
    assert all(len(set(codes)) > 4 for codes in first)
    assert len(set(first)) == len(first)
    assert not set(first) & set(second)


def test_speech_is_sampled_as_the_model_card_says():
    assert (SAY_VOICE.temperature, SAY_VOICE.top_k) == (0.8, 64)
    assert (CHAT_VOICE.temperature, CHAT_VOICE.top_k) == (1.0, 4)


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_speech_after_the_end_of_speech_begins_anew(engines: dict[str, Engine], name: str):
    engine = engines[name]
    frames: list[Event] = [AudioFrame((5, 6, 7, 8, 9, 10, 11, 12))] * 2
    end = AudioFrame((END_OF_AUDIO,) * 8)

    def sound(events: list[Event]) -> np.ndarray:
        items = heard(engine, [*events, EndOfTurn("end")])
        return np.concatenate([item.samples for item in items if isinstance(item, Sound)])

    twice = sound([*frames, end, *frames])
    assert np.array_equal(twice, np.concatenate([sound(frames), sound(frames)]))


@pytest.mark.parametrize("parts", [(), ("",), ("  ", "\n")])
def test_an_empty_question_is_refused(engines: dict[str, Engine], parts: tuple[str, ...]):
    with pytest.raises(RequestError, match="empty"):
        engines["v1"].chat().reply(*parts)


def test_a_bad_recording_leaves_the_conversation_as_it_was(
    engines: dict[str, Engine], tmp_path: Path
):
    chat = engines["v1"].chat(audio=GREEDY)
    answer(chat, "hello")
    before = chat.cursor.position
    with pytest.raises(AudioError):
        chat.reply("listen", tmp_path / "nothing.wav")
    assert chat.cursor.position == before
    assert answer(chat, "hello again")


# Conversations that are taken up again


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_conversation_taken_up_again_goes_on_as_if_it_had_not_ended(
    engines: dict[str, Engine], name: str
):
    engine = engines[name]
    chat = engine.chat(audio=GREEDY)
    answer(chat, SHORT)
    answer(chat, "and", LONG)
    kept = chat.exchanges
    assert [exchange.said for exchange in kept] == [(SHORT,), ("and", LONG)]
    assert any(isinstance(step, tuple) for step in kept[0].answer)
    again = engine.chat(audio=GREEDY, history=kept)
    assert again.exchanges == kept
    assert answer(again, "And now?") == answer(chat, "And now?")
    assert again.exchanges == chat.exchanges


def test_an_answer_that_is_left_is_remembered_as_far_as_it_came(engines: dict[str, Engine]):
    chat = engines["v1"].chat(audio=GREEDY)
    stream = chat.events("hello")
    for _ in range(9):
        next(stream)
    assert len(chat.exchanges[0].answer) == 9
    again = engines["v1"].chat(audio=GREEDY, history=chat.exchanges)
    assert answer(again, "go on") == answer(chat, "go on")


# Likelihoods


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


# The context


def test_the_context_is_that_of_the_published_models(engines: dict[str, Engine]):
    assert engines["v1"].context == 32_768


def test_too_long_a_recording_is_refused_before_any_work(nano: Engine):
    hour = (np.zeros(16_000 * 60 * 45, np.float32), 16_000)
    with pytest.raises(ContextError, match=r"2,700 s of sound, .* holds 2,621 s"):
        nano.hear(hour)


@pytest.mark.slow
def test_the_whole_context_can_be_filled(engines: dict[str, Engine]):
    """Position 32,768 is reached, and there the turn must end. One attention layer of one head:
    on a CPU the scores of a longer stack take minutes."""
    engine = engines["v1"]
    small = dataclasses.replace(
        engine.config.lfm,
        hidden_size=32,
        layer_types=("conv", "full_attention"),
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    model = Lfm2Audio(dataclasses.replace(engine.config, lfm=small))
    ids = tuple(np.random.default_rng(0).integers(200, 1000, engine.context - 2).tolist())
    cursor = Cursor(engine.context)
    cursor.extend([TextIds(ids)])
    events = list(
        generate(
            Steps(model),
            engine.tokenizer.special,
            cursor,
            Sequential(),
            text=GREEDY,
            audio=GREEDY,
            max_tokens=10,
            key=mx.random.key(0),
        )
    )
    assert events[-1] == EndOfTurn("context")
    assert len(events) == 4
    assert cursor.state is not None
    assert cursor.state.offset == 32_768


def test_every_failure_is_of_one_tree():
    for error in (AudioError, ContextError, RequestError):
        assert issubclass(error, LfmError)
