"""The conversation that the worker is told, as the client of live voice has it."""

import pytest
from live_session import FRAME, FRAMES, LAST, Client
from live_sound import RATE, pcm, silence

from lfm_daemon.faults import Fault


def test_the_next_turn_goes_on_from_the_state_of_the_last():
    client = Client()
    client.ask("one")
    first = client.answered("Hi", FRAMES[0], LAST).options
    assert first["history"] == [] and "after" not in first
    client.ask("two")
    second = client.answered("Ho").options
    assert second["after"] == first["becomes"] and second["answered"] == 3
    assert second["history"] == [{"said": [{"text": "one"}], "answer": [7, FRAMES[0], LAST]}]
    assert second["parts"] == [{"text": "two"}]
    client.ask("three")
    third = client.answered("Ha").options
    assert third["after"] == second["becomes"] and third["answered"] == 1


def test_an_answer_that_failed_or_never_began_left_no_state():
    client = Client()
    client.ask("one")
    first = client.answered("Hi").options
    client.ask("two")
    client.say("response.create")
    client.told("Ho")
    client.end(fault=Fault(503, "worker_died", "it died"))
    client.ask("three")
    third = client.answered("Ha").options
    assert "after" not in third and len(third["history"]) == 2
    client.ask("four")
    client.say("response.create")
    client.say("response.cancel")
    client.end("cancelled")
    client.ask("five")
    fifth = client.answered("Hu").options
    assert fifth["after"] == third["becomes"] != first["becomes"]
    assert fifth["parts"] == [{"text": "four"}, {"text": "five"}]


def test_a_truncated_answer_is_what_was_heard_of_it():
    client = Client()
    client.ask("one")
    client.answered("a", "b", *FRAMES[:3], "c", *FRAMES[3:6], LAST, "d")
    item = client.heard[-1]["response"]["output"][0]["id"]
    heard = {"item_id": item, "content_index": 0, "audio_end_ms": 4 * 80 + 30}
    (truncated,) = client.say("conversation.item.truncate", **heard)
    assert truncated["audio_end_ms"] == 350
    (found,) = client.say("conversation.item.retrieve", item_id=item)
    assert found["item"]["content"] == [{"type": "output_audio", "transcript": ""}]
    client.ask("two")
    asked = client.answered("Ho").options
    assert "after" not in asked
    assert asked["history"][0]["answer"] == [7, 7, *FRAMES[:3], 7, FRAMES[3]]
    client.ask("three")
    assert client.answered("Ha").options["after"] == asked["becomes"]
    client.say("conversation.item.truncate", **heard | {"audio_end_ms": 351})
    assert client.faults == ["invalid_value"]


@pytest.mark.parametrize(
    ("milliseconds", "kept"),
    [(0, 0), (39, 0), (41, 2), (80, 2), (160, 3), (200, 3), (240, 7)],
)
def test_truncation_keeps_the_frames_that_were_heard_for_the_most_part(
    milliseconds: int, kept: int
):
    client = Client()
    client.ask("one")
    answer = ["a", *FRAMES[:3], LAST, "b", "c"]
    client.answered(*answer)
    item = client.heard[-1]["response"]["output"][0]["id"]
    where = {"item_id": item, "content_index": 0, "audio_end_ms": milliseconds}
    client.say("conversation.item.truncate", **where)
    assert not client.faults
    client.ask("two")
    asked = client.answered("Ho").options
    whole = [7, *FRAMES[:3], LAST, 7, 7]
    assert asked["history"][0]["answer"] == whole[:kept]
    assert ("after" in asked) == (kept == 7)


def test_what_cannot_be_truncated():
    client = Client()
    where = {"content_index": 0, "audio_end_ms": 10}
    client.say("conversation.item.truncate", item_id="item_none", **where)
    assert client.faults == ["item_truncate_invalid_item_id"]
    client.ask("one")
    question = client.heard[0]["item"]["id"]
    client.say("conversation.item.truncate", item_id=question, **where)
    assert client.faults == ["invalid_value"]
    client.say("response.create")
    answer = client.told("a", FRAME)[0]["item"]["id"]
    for kind, fields in (("truncate", where), ("delete", {})):
        client.say(f"conversation.item.{kind}", item_id=answer, **fields)
        assert client.faults == ["item_in_progress"]
    client.end()
    client.ask("two")
    client.answered("b", output_modalities=["text"])
    written = client.heard[-1]["response"]["output"][0]["id"]
    client.say("conversation.item.truncate", item_id=written, **where)
    assert client.faults == ["invalid_value"]


def test_other_instructions_hold_for_all_that_was_said():
    client = Client()
    client.ask("one")
    client.answered("Hi")
    client.say("session.update", session={"instructions": "Be brief."})
    content = [{"type": "input_text", "text": "Be kind."}]
    note = {"type": "message", "role": "system", "content": content}
    client.say("conversation.item.create", item=note)
    client.ask("two")
    asked = client.answered("Ho").options
    assert asked["system"] == "Be brief.\nBe kind."
    assert "after" not in asked and len(asked["history"]) == 1


def test_items_are_put_anywhere_and_removed():
    client = Client()
    client.ask("one")
    first = client.heard[0]["item"]["id"]
    client.answered("Hi")
    answer = client.heard[-1]["response"]["output"][0]["id"]
    for role, kind, text, after in (
        ("user", "input_text", "zero", "root"),
        ("assistant", "output_text", "none", first),
        ("user", "input_text", "two", None),
    ):
        content = [{"type": kind, "text": text}]
        item = {"type": "message", "role": role, "content": content}
        client.say("conversation.item.create", item=item, previous_item_id=after)
        assert client.kinds == ["conversation.item.added", "conversation.item.done"]
    said = [{"text": "zero"}, {"text": "one"}]
    asked = client.answered("Ho").options
    assert asked["history"] == [{"said": said, "text": "none Hi"}]
    client.say("conversation.item.delete", item_id=first)
    assert client.kinds == ["conversation.item.deleted"]
    client.ask("three")
    asked = client.answered("Ha").options
    assert asked["history"][0] == {"said": [{"text": "zero"}], "text": "none Hi"}
    client.say("conversation.item.delete", item_id=answer)
    client.say("conversation.item.delete", item_id=answer)
    assert client.faults == ["item_delete_invalid_item_id"]
    client.say("conversation.item.retrieve", item_id=answer)
    assert client.faults == ["item_retrieve_invalid_item_id"]


def test_answers_whose_question_was_deleted_are_one_with_those_before():
    client = Client()
    for text in ("one", "two"):
        client.ask(text)
        question = client.heard[0]["item"]["id"]
        client.answered(text, FRAME)
    client.say("conversation.item.delete", item_id=question)
    client.ask("three")
    answers = client.answered("Hi").options["history"]
    assert answers == [{"said": [{"text": "one"}], "answer": [7, FRAME, 7, FRAME]}]


def test_another_sound_in_a_questions_place_makes_another_conversation():
    client = Client()
    content = [{"type": "input_audio", "audio": pcm(silence(0.5))}]
    item = {"type": "message", "role": "user", "content": content}
    first, _ = client.say("conversation.item.create", item=item)
    client.answered("Hi")
    client.say("conversation.item.delete", item_id=first["item"]["id"])
    client.say("conversation.item.create", item=item, previous_item_id="root")
    client.ask("and?")
    asked = client.answered("Ho")
    assert asked.sounds == [{"path": "file 2", "rate": RATE}]
    assert "after" not in asked.options


def test_a_message_may_have_words_and_sounds():
    client = Client()
    content = [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_audio", "audio": pcm(silence(0.5)), "transcript": "nothing"},
    ]
    item = {"type": "message", "role": "user", "content": content, "id": "mine"}
    client.say("conversation.item.create", item=item)
    assert client.heard[0]["item"]["id"] == "mine"
    asked = client.answered("Hi")
    assert asked.options["parts"] == [{"text": "what is this?"}, {"sound": 0}]
    assert len(client.files[0]) == 4 * RATE // 2
    client.say("conversation.item.create", item=item)
    assert client.faults == ["invalid_value"]
    content = [{"type": "input_audio", "audio": pcm(silence(0.05))}]
    item = {"type": "message", "role": "user", "content": content}
    client.say("conversation.item.create", item=item)
    assert client.faults == ["input_audio_buffer_commit_empty"]
