"""The actions of tests/modules/actions, for the oracle."""


def counter(payload):
    n = (payload or {}).get("n", 0)
    action = {"type": "count", "payload": {"n": n + 1}, "handler": "server", "loadingBehavior": "auto", "streaming": True}
    button = {"type": "Button", "label": "More", "onClickAction": action}
    return {"type": "Card", "children": [{"type": "Text", "id": "shown", "value": str(n)}, button]}


def done(**item):
    return {"type": "thread.item.done", "item": item}


def dump(item):
    return item.model_dump(mode="python", exclude_none=True)


def item(action, sender):
    """Of `threads.sync_custom_action`."""
    match action.type:
        case "count":
            return {**dump(sender), "widget": counter(action.payload)}
        case "nothing":
            return None
        case other:
            raise NotImplementedError(other)


def events(action, sender, thread):
    match action.type:
        case "show":
            yield {"type": "progress_update", "icon": "bolt", "text": "Counting"}
            yield done(type="widget", widget=counter(action.payload), copy_text="A counter")
            yield {"type": "notice", "level": "info", "message": "There it is."}
        case "tell":
            story = {"id": "msg_5701e9", "type": "widget"}

            def card(value, streaming):
                markdown = {"type": "Markdown", "id": "story", "value": value, "streaming": streaming}
                return {"type": "Card", "children": [markdown]}

            yield {"type": "thread.item.added", "item": {**story, "widget": card("Once", True)}}
            for delta, last in ((" upon", False), (" a time.", True)):
                update = {"type": "widget.streaming_text.value_delta", "component_id": "story", "delta": delta, "done": last}
                yield {"type": "thread.item.updated", "item_id": story["id"], "update": update}
            yield done(**story, widget=card("Once upon a time.", False))
        case "count":
            yield {"type": "thread.item.replaced", "item": {**dump(sender), "widget": counter(action.payload)}}
        case "recount":
            update = {"type": "widget.root.updated", "widget": counter(action.payload)}
            yield {"type": "thread.item.updated", "item_id": sender.id, "update": update}
        case "remove":
            yield {"type": "thread.item.removed", "item_id": sender.id}
        case "ask":
            options = [{"value": "red"}, {"value": "blue"}]
            colour = {"id": "colour", "question": "Which colour?", "type": "multiple_choice", "options": options}
            why = {"id": "why", "question": "Why?", "type": "freeform", "description": "In a word"}
            yield done(type="structured_input", inputs=[colour, why])
        case "whisper":
            yield done(type="hidden_context_item", content=action.payload)
            yield {"type": "midplane.respond"}
        case "close":
            status = {"type": "closed", "reason": "All is said."}
            yield {"type": "thread.updated", "thread": {"title": "Closed", "status": status}}
        case "effect":
            yield {"type": "client_effect", "name": "confetti", "data": {"n": 3}}
        case "report":
            yield done(type="task", task={"type": "custom", "title": "Read", "content": "main.rs"})
            yield done(type="generated_image", image={"id": "img_a", "url": "https://example.com/a.png"})
            yield done(type="end_of_turn")
        case "talk":
            said = {"id": "msg_7a1c", "type": "assistant_message", "content": []}
            yield {"type": "thread.item.added", "item": said}

            def part(kind, **update):
                update = {"type": f"assistant_message.content_part.{kind}", "content_index": 0, **update}
                return {"type": "thread.item.updated", "item_id": "msg_7a1c", "update": update}

            yield part("added", content={"text": ""})
            yield part("text_delta", delta="Well, ")
            yield part("text_delta", delta="you see")
            yield {"type": "wait"}
        case "nothing":
            return
        case other:
            raise NotImplementedError(other)
