"""A conversation is gone on with if it is the same one, and only then."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfm_daemon.threads import KNOWN, Asked, Thread, Threads

SETTINGS: dict[str, Any] = {
    "model": "/models/nano",
    "system": None,
    "mode": "interleaved",
    "seed": None,
    "temperature": None,
}
ANSWER = [1, [2, 3], 4]


def question(name: str, **answer: str) -> Asked:
    return Asked([{"text": name}], f"digest of {name}", **answer)


def thread(*earlier: Asked, **settings: Any) -> Thread:
    return Thread({**SETTINGS, **settings}, list(earlier))


@pytest.fixture
def threads() -> Threads:
    """One conversation of one exchange is known."""
    threads = Threads()
    threads.remember(thread(), question("a"), "state 1", ANSWER, "Hi!", "audio_1")
    return threads


def test_nothing_is_known_at_first():
    assert Threads().state(thread()) == (None, None)
    assert Threads().answer("audio_1") is None


def test_a_beginning_has_no_state(threads: Threads):
    assert threads.state(thread()) == (None, None)


def test_it_is_found_again_by_what_was_spoken_and_by_its_words(threads: Threads):
    for answer in ({"audio": "audio_1"}, {"text": "Hi!"}, {"audio": "audio_1", "text": "Hi!"}):
        assert threads.state(thread(question("a", **answer))) == ("state 1", len(ANSWER))
    assert threads.answer("audio_1") == ANSWER


@pytest.mark.parametrize(
    "answer",
    [{}, {"text": "Hi"}, {"text": ""}, {"audio": "audio_2"}, {"audio": "audio_2", "text": "Hi!"}],
)
def test_another_answer_is_another_conversation(threads: Threads, answer: dict[str, str]):
    assert threads.state(thread(question("a", **answer))) == (None, None)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("value", ["other", 7, 0.5])
def test_other_settings_are_another_conversation(threads: Threads, name: str, value: Any):
    said = question("a", text="Hi!")
    assert threads.state(thread(said, **{name: value})) == (None, None)


def test_another_question_is_another_conversation(threads: Threads):
    assert threads.state(thread(question("b", text="Hi!"))) == (None, None)


def test_it_goes_on_turn_after_turn_in_either_way(threads: Threads):
    """A client may send one answer as sound and another as words."""
    spoken, in_words = question("a", audio="audio_1"), question("a", text="Hi!")
    threads.remember(thread(spoken), question("b"), "state 2", [1], "Yes.", "audio_2")
    for second in ({"audio": "audio_2"}, {"text": "Yes."}):
        assert threads.state(thread(spoken, question("b", **second))) == ("state 2", 1)
    assert threads.state(thread(in_words)) == ("state 1", len(ANSWER))
    third = thread(spoken, question("b", text="No."))
    assert threads.state(third) == (None, None)


def test_what_came_before_makes_a_difference(threads: Threads):
    first, second = question("a", text="Hi!"), question("b", text="Yes.")
    threads.remember(thread(first), question("b"), "state 2", [1], "Yes.", "audio_2")
    for earlier in ([second], [second, first], [replace(first, text="Ho!"), second]):
        assert threads.state(thread(*earlier)) == (None, None)


def test_an_answer_without_words_is_found_too():
    threads = Threads()
    threads.remember(thread(), question("a"), "state", [[1]], "", "audio_1")
    for answer in ({"audio": "audio_1"}, {"text": ""}):
        assert threads.state(thread(question("a", **answer))) == ("state", 1)


def test_the_same_question_again_leads_to_the_newest_answer(threads: Threads):
    threads.remember(thread(), question("a"), "state 2", [1, 2], "Hi!", "audio_2")
    assert threads.state(thread(question("a", text="Hi!"))) == ("state 2", 2)
    assert threads.state(thread(question("a", audio="audio_1"))) == ("state 1", 3)


def test_only_so_many_are_known(threads: Threads):
    for number in range(2, KNOWN + 2):
        threads.remember(
            thread(), question(f"{number}"), f"state {number}", [1], "Hi!", f"audio_{number}"
        )
    assert threads.state(thread(question("a", audio="audio_1"))) == (None, None)
    assert threads.answer("audio_1") is None
    for number in range(2, KNOWN + 2):
        for answer in ({"audio": f"audio_{number}"}, {"text": "Hi!"}):
            found = threads.state(thread(question(f"{number}", **answer)))
            assert found == (f"state {number}", 1)
        assert threads.answer(f"audio_{number}") == [1]


def test_one_that_is_asked_for_often_is_not_forgotten(threads: Threads):
    """As many clients as there may be; this one goes on from the same answer again and again."""
    said = thread(question("a", audio="audio_1"))
    for number in range(2 * KNOWN):
        threads.remember(thread(), question(f"{number}"), "state", [1], "Hi!", f"other_{number}")
        assert threads.state(said) == ("state 1", len(ANSWER))
        assert threads.answer("audio_1") == ANSWER


exchanges = st.lists(
    st.builds(Asked, st.just([]), st.text(max_size=3), st.text(max_size=3), st.none())
)


@given(exchanges, exchanges)
def test_two_conversations_are_one_only_if_they_are_alike(one: list[Asked], other: list[Asked]):
    digests = [thread(*earlier).digest(earlier) for earlier in (one, other)]
    assert (digests[0] == digests[1]) == (one == other)
