"""A conversation is kept under a name, and taken up again as if it had not ended."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from questions import OTHER_SPEECH, SPEECH
from short_answers import Brief, is_kept, remembered, silent

from lfm2audio_mlx.engine import CHAT_VOICE, Engine
from lfm2audio_mlx.errors import RequestError
from lfm2audio_mlx.results import Exchange, Part
from lfm_cli import conversations
from lfm_cli.backend import open_backend
from lfm_cli.session import Session, heard

# Keeping


@pytest.mark.parametrize("exchanges", [0, 1, 2])
def test_a_conversation_is_kept_from_its_beginning(brief: Brief, exchanges: int):
    questions: list[list[Part]] = [["hello"], [heard(SPEECH)], ["and this?", heard(OTHER_SPEECH)]]
    session = silent(brief)
    for number, parts in enumerate(questions):
        if number == exchanges:
            session.save("a")
        session.ask(parts)
    is_kept(session, "a")
    saved, kept = conversations.load("a")
    assert (saved.model, saved.system, saved.exchanges) == (brief.name, "", 3)
    assert kept[0].sound is not None
    assert session.name == "a"


def test_a_name_is_taken_with_the_first_answer(brief: Brief):
    """So that a question that cannot be asked does not take it."""
    session = silent(brief)
    session.save("a")
    assert conversations.listed() == []
    with pytest.raises(RequestError):
        session.ask([" "])
    assert conversations.listed() == []
    session.ask(["hello"])
    is_kept(session, "a")


def test_nothing_is_kept_that_was_not_asked_for(brief: Brief, home: Path):
    silent(brief).ask(["hello"])
    assert list(home.iterdir()) == []


def test_a_name_that_is_taken_or_none_leaves_the_session_as_it_was(brief: Brief):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    for name in ("a", "", "b/c"):
        with pytest.raises(RequestError):
            session.save(name)
        assert session.name == "a"
    session.ask(["go on"])
    is_kept(session, "a")


def test_a_second_name_keeps_a_second_conversation_from_the_beginning(brief: Brief):
    session = silent(brief)
    session.save("a")
    session.ask(["hello"])
    session.save("b")
    session.ask(["go on"])
    is_kept(session, "b")
    assert conversations.find("a").exchanges == 1


@pytest.mark.parametrize("name", ["v1", "v25"])
def test_a_conversation_goes_on_as_if_it_had_not_ended(engines: dict[str, Engine], name: str):
    """Greedy in words and sound, so that nothing but what is remembered decides."""
    backend = Brief(engines[name])
    unbroken = silent(backend)
    unbroken.save("a")
    unbroken.ask(["what is it?", heard(SPEECH)])
    unbroken.ask(["and now?"])
    resumed = silent(backend)
    resumed.resume("a")
    assert resumed.name == "a"
    one, other = resumed.ask([heard(OTHER_SPEECH)]), unbroken.ask([heard(OTHER_SPEECH)])
    assert remembered(resumed)[-1].answer == remembered(unbroken)[-1].answer
    assert one.text == other.text
    assert one.sound and other.sound
    assert np.array_equal(one.sound[0], other.sound[0])


def test_the_system_prompt_is_taken_up_again(brief: Brief):
    own = Session(brief, "Be brief.", None, False)
    own.save("a")
    own.ask(["hello"])
    resumed = silent(brief)
    resumed.resume("a")
    assert resumed.ask(["go on"]).text == own.ask(["go on"]).text
    resumed.reset()
    own.reset()
    assert resumed.ask(["hello"]).text == own.ask(["hello"]).text


def test_what_comes_after_it_was_taken_up_again_is_kept_too(brief: Brief):
    first = silent(brief)
    first.save("a")
    first.ask(["hello"])
    for question in ("go on", "and then?"):
        resumed = silent(brief)
        resumed.resume("a")
        resumed.ask([question])
        is_kept(resumed, "a")
    assert conversations.find("a").exchanges == 3


def test_a_resumed_conversation_can_be_kept_under_another_name_too(brief: Brief):
    first = silent(brief)
    first.save("a")
    first.ask([heard(SPEECH)])
    branch = silent(brief)
    branch.resume("a")
    branch.save("b")
    branch.ask(["go on"])
    is_kept(branch, "b")
    is_kept(first, "a")


def test_the_same_seed_gives_the_same_conversation(engines: dict[str, Engine]):
    answers: list[tuple[Exchange, ...]] = []
    for seed in (3, 3, 4):
        session = silent(Brief(engines["v1"], CHAT_VOICE), seed)
        session.ask(["hello"])
        session.ask(["go on"])
        answers.append(remembered(session))
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_the_same_seed_takes_a_conversation_up_the_same_way(engines: dict[str, Engine]):
    backend = Brief(engines["v1"], CHAT_VOICE)
    first = silent(backend, 3)
    first.save("a")
    first.ask(["hello"])
    last: list[Exchange] = []
    for seed in (5, 5, 6):
        resumed = silent(backend, seed)
        resumed.resume("a")
        resumed.name = None  # so that each begins at the same place
        resumed.ask(["go on"])
        last.append(remembered(resumed)[-1])
    assert last[0] == last[1]
    assert last[0] != last[2]


def test_with_its_seed_a_conversation_goes_on_as_if_it_had_not_ended(engines: dict[str, Engine]):
    backend = Brief(engines["v1"], CHAT_VOICE)
    unbroken = silent(backend, 3)
    unbroken.save("a")
    unbroken.ask(["hello"])
    resumed = silent(backend, 3)
    resumed.resume("a")
    resumed.ask(["go on"])
    unbroken.name = None
    unbroken.ask(["go on"])
    assert remembered(resumed)[-1] == remembered(unbroken)[-1]


def test_a_reset_forgets_what_was_said_and_keeps_nothing_more(brief: Brief):
    session, fresh = silent(brief), silent(brief)
    session.save("a")
    session.ask(["hello"])
    session.reset()
    assert session.name is None
    assert session.ask(["and now?"]).text == fresh.ask(["and now?"]).text
    assert remembered(session) == remembered(fresh)
    assert conversations.find("a").exchanges == 1
    session.save("b")
    is_kept(session, "b")


# Another model


def test_another_model_does_not_take_up_a_conversation(brief: Brief, nano: Engine):
    first = silent(nano)
    first.save("a")
    first.ask([heard(SPEECH)])
    other = silent(brief)
    with pytest.raises(RequestError) as caught:
        other.resume("a")
    assert str(caught.value) == (
        f"'a' was held with the model {nano.name}, this is {brief.name}: --model {nano.name} goes "
        "on with it"
    )
    assert other.name is None
    assert remembered(other) == ()
    other.ask(["hello"])
    assert conversations.find("a").exchanges == 1


@pytest.mark.parametrize("model", ["nano", "installed", "a folder"])
def test_the_model_that_a_refusal_names_can_be_found(
    engines: dict[str, Engine], converted: dict[str, Path], home: Path, model: str
):
    name = {"nano": "nano", "installed": "mine", "a folder": str(converted["v1"])}[model]
    if model == "installed":
        shutil.copytree(converted["v1"], home / "models" / "mine")
    first = silent(opened(name))
    first.save("a")
    first.ask([heard(SPEECH)])
    with pytest.raises(RequestError) as caught:
        silent(Brief(engines["v25"])).resume("a")
    named = re.search(r"--model (\S+)", str(caught.value))
    assert named
    again = silent(opened(named[1]))
    again.resume("a")
    assert len(remembered(again)) == 1


def opened(model: str) -> Engine:
    """As the command does it, with short answers."""
    found = open_backend(model, daemon=False)
    assert isinstance(found, Engine)
    return Brief(found)
