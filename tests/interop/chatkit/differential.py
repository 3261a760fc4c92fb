"""The same conversations, through a ChatKitServer of openai-chatkit and through the chat module, in front of one scripted
provider. The event sequences are equal, and so is every page of every list, but for what DIFFERENCES names."""

import os

from oracle import Oracle
from pair import Pair
from provider import Break, Fail, Provider, call, file, message, reasoning, url

from midplane import configure, run, text_input

# Where the package has a defect, or leaves a choice to who writes a server with it.
DIFFERENCES = {
    "refusals": "What the package raises an exception for, before anything is sent, is a problem with a status and a sentence "
    "that says what to do; so is another try at an item that is not there, to which it answers nothing.",
    "an error's message": "The package sends a failure's code alone. The module sends words beside it, for people who read "
    "streams; ChatKit's page shows its own words for a named code.",
    "an error's code": "The package calls every failure stream.error, which only says to try again. The module's is custom, "
    "with words, where something must be mended first.",
}
TOOLS = [
    {
        "name": "open_file",
        "description": "Opens a file in the editor.",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
    {"name": "selection", "description": "What is selected."},
]
provider = Provider()
play = provider.play
oracle = Oracle(provider.base_url, TOOLS)
users = iter(range(1_000))


def pair(name="user"):
    return Pair(oracle, f"{name}-{next(users)}-{os.getpid()}")


def begin(pair, text="Hello there", *script):
    """A thread with one exchange; gives the numbers of the thread, the question and the answer."""
    play.set(*script or [[message(["Hel", "lo."])]])
    events = pair.ask("threads.create", input=text_input(text))
    done = [event["item"]["id"] for event in events if event["type"] == "thread.item.done"]
    return events[0]["thread"]["id"], *done


def an_exchange_and_what_follows():
    two = pair()
    thread, *_ = begin(two)
    play.set([message(["So ", "it ", "is."])])
    tag = {"type": "input_tag", "id": "file", "text": "main.rs", "data": {"line": 3}, "group": "files", "interactive": True}
    rich = {
        "content": [{"type": "input_text", "text": "what is "}, tag],
        "attachments": [],
        "quoted_text": "fn main",
        "inference_options": {"model": "other", "tool_choice": {"id": "selection"}},
    }
    two.ask("threads.add_user_message", thread_id=thread, input=rich)
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("and now?"))
    two.everything()


def more_than_one_page():
    two = pair()
    for number in range(3):
        thread, *_ = begin(two, f"Number {number} of a few threads with a title that is cut")
    for number in range(11):
        two.ask("threads.add_user_message", thread_id=thread, input=text_input(f"more {number}"))
    whole = two.ask("threads.get_by_id", thread_id=thread)
    assert whole["items"]["has_more"] and len(whole["items"]["data"]) == 20
    two.everything(limits=(1, 2, 3, 20))


def another_try_forgets_what_came_after():
    two = pair()
    thread, question, _ = begin(two)
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("second"))
    play.set([message(["An", "other."])])
    two.ask("threads.retry_after_item", thread_id=thread, item_id=question)
    two.everything()


def a_thread_is_renamed_rated_and_deleted():
    two = pair()
    thread, question, answer = begin(two)
    two.ask("items.feedback", thread_id=thread, item_ids=[question, answer], kind="negative")
    two.ask("items.feedback", thread_id=thread, item_ids=[answer], kind="positive")
    two.ask("threads.update", thread_id=thread, title="Renamed")
    begin(two, "Another")
    two.everything()
    two.ask("threads.delete", thread_id=thread)
    two.everything()


def a_client_tool_goes_round():
    two = pair()
    play.set([message("Let me see."), call("open_file", path="main.rs")])
    events = two.ask("threads.create", input=text_input("What is in main.rs?"))
    thread = events[0]["thread"]["id"]
    assert [event["item"] for event in events if event["type"] == "thread.item.done"][-1]["status"] == "pending"
    two.everything()
    play.set([message(["It is ", "empty."])])
    two.ask("threads.add_client_tool_output", thread_id=thread, result={"text": "", "lines": [None, 1]})
    two.everything()
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("thanks"))
    told = play.requests[-1]["input"]
    assert [part["type"] for part in told if part.get("call_id")] == ["function_call", "function_call_output"], told


def one_tool_after_the_other():
    two = pair()
    thread, *_ = begin(two, "Look", [call("selection")])
    play.set([call("open_file", path="a")])
    two.ask("threads.add_client_tool_output", thread_id=thread, result=None)
    play.set([message("Done.")])
    two.ask("threads.add_client_tool_output", thread_id=thread, result="text")
    two.everything()


def thoughts_go_on_behind_a_tool():
    two = pair()
    thread, *_ = begin(two, "Think", [reasoning(["Hm", "m."]), call("selection")])
    play.set([reasoning(["Now ", "I see."], "And more."), message("Done.")])
    two.ask("threads.add_client_tool_output", thread_id=thread, result="x")
    two.everything()


def a_call_that_nobody_answers():
    two = pair()
    thread, *_ = begin(two, "Look", [call("selection")])
    play.set([message("Never mind.")])
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("no, wait"))
    assert not [part for part in play.requests[-1]["input"] if part.get("call_id")]
    two.refused(409, "threads.add_client_tool_output", thread_id=thread, result=1)
    # and of two, the older is forgotten when the newer is answered
    play.set([call("open_file", path="a")])
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("again"))
    play.set([message("Done.")])
    two.ask("threads.add_client_tool_output", thread_id=thread, result=[])
    two.everything()


def thoughts_come_before_words():
    two = pair()
    thought = reasoning(["First ", "I ", "think."], ["Then ", "again."], "At last.")
    begin(two, "Why?", [thought, message(["Be", "cause."])])
    begin(two, "And without a summary?", [reasoning(), message("So.")])
    begin(two, "And twice?", [reasoning("a"), message("b"), reasoning("c"), message("d")])
    two.everything()


def parts_messages_and_sources():
    two = pair()
    cited = ["See ", url("https://example.com/a", "A", 4), "this", file("notes.txt", 8), "."]
    begin(two, "Where?", [message(cited, "And also.", [file("b.txt", 0), "x"])])
    begin(two, "Twice?", [message(["One", "."]), message("Two.")])
    nameless = {"type": "file_citation", "file_id": "file_1", "filename": "", "index": 1}
    begin(two, "Nameless?", [message(["Here", nameless, url("https://example.com/b", "B", 2)])])
    two.everything()


def the_model_refuses():
    two = pair()
    begin(two, "Do it", [message(["I ", "cannot."], refusal=True)])
    two.everything()


def a_client_leaves():
    two = pair()
    play.set(Break(message(["Once ", "upon ", "a"]), how="held"))
    events = two.ask("threads.create", input=text_input("Tell"), leave_after=8)
    thread = events[0]["thread"]["id"]
    two.until_kept(thread)
    two.everything()
    play.set([message("Yes?")])
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("Stop"))
    hidden = "The user cancelled the stream"
    assert any(hidden in str(part) for part in play.requests[-1]["input"]), play.requests[-1]["input"]
    # before a word, of which there is none: the module would keep one that came before it heard of the leaving
    play.set(Break(how="held"))
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("Again"), leave_after=2)
    two.until_kept(thread)
    two.everything()


def the_provider_fails():
    for script in (Fail(500), Break(message(["Hal", "f"]), how="failed")):
        two = pair()
        play.set(script)
        # difference: "an error's message"
        events = two.ask("threads.create", input=text_input("Hello"), without=["message"])
        assert events[-1] == {"type": "error", "code": "stream.error", "allow_retry": True, "message": events[-1]["message"]}
        two.everything()
        question = events[1]["item"]["id"]
        play.set([message("Here.")])
        two.ask("threads.retry_after_item", thread_id=events[0]["thread"]["id"], item_id=question)
        two.everything()


def the_provider_refuses():
    for script, words in [
        (Fail(401), "store a valid key"),
        (Fail(404, "model_not_found"), "check `model`"),
        (Fail(429, "insufficient_quota"), "billing"),
    ]:
        two = pair()
        play.set(script)
        # differences: "an error's message", "an error's code"
        events = two.ask("threads.create", input=text_input("Hello"), without=["message", "code"])
        assert events[-1]["code"] == "custom" and words in events[-1]["message"], events[-1]
        two.everything()


def widgets_come_and_go():
    two = pair()
    thread, *_ = begin(two)

    def act(type, item=None, payload=None):
        sender = {} if item is None else {"item_id": item}
        action = {"type": type, **({} if payload is None else {"payload": payload})}
        return two.ask("threads.custom_action", thread_id=thread, action=action, **sender)

    shown = act("show", payload={"n": 7})
    widget = next(event["item"]["id"] for event in shown if event["type"] == "thread.item.done")
    two.everything()
    act("count", widget, {"n": 8})
    two.everything()
    act("recount", widget, {"n": 9})
    two.everything()
    act("tell")
    act("effect", widget)
    act("report")
    act("nothing")
    act("remove", widget)
    two.everything()
    play.set([message("I see.")])
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("what was that?"))
    act("close")
    two.everything()


def a_widget_changes_at_once():
    two = pair()
    thread, *_ = begin(two)
    shown = two.ask("threads.custom_action", thread_id=thread, action={"type": "show"})
    widget = next(event["item"]["id"] for event in shown if event["type"] == "thread.item.done")
    count = {"type": "count", "payload": {"n": 3}}
    two.ask("threads.sync_custom_action", thread_id=thread, item_id=widget, action=count)
    two.ask("threads.sync_custom_action", thread_id=thread, action={"type": "nothing"})
    two.everything()


def an_action_goes_wrong():
    two = pair()
    thread, question, _ = begin(two)
    # difference: "an error's message"
    not_a_widget = {"thread_id": thread, "item_id": question, "action": {"type": "show"}}
    assert len(two.ask("threads.custom_action", without=["message"], **not_a_widget)) == 1
    two.refused(400, "threads.sync_custom_action", **not_a_widget)
    nowhere = {"thread_id": thread, "item_id": "msg_0", "action": {"type": "show"}}
    two.refused(404, "threads.custom_action", **nowhere)
    two.refused(404, "threads.sync_custom_action", **nowhere)
    two.refused(502, "threads.sync_custom_action", thread_id=thread, action={"type": "unheard-of"})
    # differences: "an error's message", "an error's code"; what an author refuses is no matter of trying again
    unlike = ["message", "code", "allow_retry"]
    events = two.ask("threads.custom_action", without=unlike, thread_id=thread, action={"type": "unheard-of"})
    assert "no action unheard-of" in events[-1]["message"], events
    two.everything()


def a_client_leaves_an_action():
    two = pair()
    thread, *_ = begin(two)
    two.ask("threads.custom_action", thread_id=thread, action={"type": "talk"}, leave_after=5)
    two.until_kept(thread)
    two.everything()


def a_form_is_answered():
    for answer in (
        {"answers": {"colour": {"values": ["red", "blue"]}, "why": {"values": ["so"]}, "other": {"values": ["x"]}}},
        {"status": "skipped", "answers": {"colour": {"values": ["red"]}}},
        {"status": "answered", "answers": {"colour": {"values": ["red"], "skipped": True}}},
        {},
    ):
        two = pair()
        thread, question, _ = begin(two)
        asked = two.ask("threads.custom_action", thread_id=thread, action={"type": "ask"})
        form = next(event["item"]["id"] for event in asked if event["type"] == "thread.item.done")
        play.set([message("Noted.")])
        two.ask("threads.add_structured_input", thread_id=thread, item_id=form, input=answer)
        two.everything()
        two.refused(409, "threads.add_structured_input", thread_id=thread, item_id=form, input=answer)
        two.refused(400, "threads.add_structured_input", thread_id=thread, item_id=question, input=answer)
        two.refused(404, "threads.add_structured_input", thread_id=thread, item_id="msg_0", input=answer)
        two.everything()


def hidden_items_are_told_to_the_model_only():
    two = pair()
    thread, *_ = begin(two)
    play.set([message("I was told.")])
    secret = {"plan": "surprise-party"}
    events = two.ask("threads.custom_action", thread_id=thread, action={"type": "whisper", "payload": secret})
    assert "surprise-party" not in str(events)
    assert "surprise-party" in str(play.requests[-1]["input"])
    two.ask("threads.add_user_message", thread_id=thread, input=text_input("What is up?"))
    two.everything()


def one_user_sees_nothing_of_another():
    ada, eve = pair("ada"), pair("eve")
    thread, *_ = begin(ada)
    begin(eve, "Mine")
    # the same thread, by its ids on either side
    eve.our_ids |= {id: 1_000 + number for id, number in ada.our_ids.items()}
    eve.their_ids |= {id: 1_000 + number for id, number in ada.their_ids.items()}
    thread, item = 1_000 + thread, 1_001 + thread
    everywhere(eve, thread, item)
    eve.our_ids = {id: number for id, number in eve.our_ids.items() if number < 1_000}
    eve.their_ids = {id: number for id, number in eve.their_ids.items() if number < 1_000}
    eve.everything()
    ada.everything()


def nothing_comes_of_a_thread_that_is_not_there():
    everywhere(pair(), "thr_0", "msg_0")


def everywhere(two, thread, item):
    play.set([message("No.")])
    two.refused(404, "threads.get_by_id", thread_id=thread)
    two.refused(404, "items.list", thread_id=thread)
    two.refused(404, "threads.update", thread_id=thread, title="x")
    two.refused(404, "threads.delete", thread_id=thread)
    two.refused(404, "threads.add_user_message", thread_id=thread, input=text_input("x"))
    two.refused(404, "threads.add_client_tool_output", thread_id=thread, result=1)
    two.refused(404, "threads.add_structured_input", thread_id=thread, item_id=item, input={})
    two.refused(404, "threads.retry_after_item", thread_id=thread, item_id=item)
    two.refused(404, "threads.custom_action", thread_id=thread, action={"type": "show"})
    two.refused(404, "threads.sync_custom_action", thread_id=thread, action={"type": "count"})


def another_try_at_what_is_no_question():
    two = pair()
    thread, _, answer = begin(two)
    two.refused(400, "threads.retry_after_item", thread_id=thread, item_id=answer)
    two.refused(404, "threads.retry_after_item", thread_id=thread, item_id="msg_0")
    two.everything()


configure(
    {
        "provider": "openai",
        "base_url": provider.base_url,
        "model": "scripted",
        "models": ["other"],
        "retries": 0,
        "actions": "actions",
        "tools": TOOLS,
    }
)
run(
    [
        an_exchange_and_what_follows,
        more_than_one_page,
        another_try_forgets_what_came_after,
        a_thread_is_renamed_rated_and_deleted,
        a_client_tool_goes_round,
        one_tool_after_the_other,
        thoughts_go_on_behind_a_tool,
        a_call_that_nobody_answers,
        thoughts_come_before_words,
        parts_messages_and_sources,
        the_model_refuses,
        a_client_leaves,
        the_provider_fails,
        the_provider_refuses,
        widgets_come_and_go,
        a_widget_changes_at_once,
        an_action_goes_wrong,
        a_client_leaves_an_action,
        a_form_is_answered,
        hidden_items_are_told_to_the_model_only,
        one_user_sees_nothing_of_another,
        nothing_comes_of_a_thread_that_is_not_there,
        another_try_at_what_is_no_question,
    ]
)
