"""OpenAI's SDK for Python, unchanged, with the client secret as its API key: over the socket, in front of provider.py."""

import asyncio
import sys

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, DefaultHttpxClient, OpenAI

import kernel
import provider
from kernel import BASE_URL, DEADLINE_S, SECRET, SOCKET, configure, issue, run, until

TOKEN = ""
MESSAGES = [{"role": "user", "content": "speak"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}


def client(token=None, socket=SOCKET, **more):
    http = DefaultHttpxClient(transport=httpx2.HTTPTransport(uds=socket))
    return OpenAI(base_url=BASE_URL, api_key=token or TOKEN, http_client=http, **{"max_retries": 0, "timeout": DEADLINE_S, **more})


def last_request():
    return upstream.seen()["requests"][-1]


def raises(kinds, call):
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    try:
        call()
    except openai.OpenAIError as error:
        assert type(error) in kinds, f"{type(error).__name__} and not {kinds}: {error}"
        assert SECRET not in f"{error} {error!r} {error.__dict__}", error
        return error
    raise AssertionError(f"none of {kinds}")


def a_whole_completion():
    with client() as ai:
        raw = ai.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES)
    completion = raw.parse()
    assert completion.choices[0].message.content == provider.TEXT
    assert completion.usage.total_tokens == 9
    assert raw.headers["x-upstream-request-id"].startswith("req_")
    assert raw.headers["x-request-id"] == completion._request_id
    for name in ("openai-organization", "openai-processing-ms", "openai-version", "x-ratelimit-remaining-requests"):
        assert raw.headers[name] == provider.FIELDS[name]
    assert "set-cookie" not in raw.headers and raw.headers["x-midplane-module"].startswith("chat#")
    request = last_request()
    assert request["path"] == "/v1/chat/completions" and request["body"] == {"model": "tiny", "messages": MESSAGES}
    assert request["headers"]["authorization"] == f"Bearer {SECRET}"
    assert request["headers"]["x-stainless-lang"] == "python" and "cookie" not in request["headers"]
    assert TOKEN not in str(request)


def a_streamed_completion():
    with client() as ai:
        options = {"include_usage": True}
        with ai.chat.completions.create(model="tiny", messages=MESSAGES, stream=True, stream_options=options) as stream:
            chunks = list(stream)
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert words == provider.WORDS and chunks[-1].usage.total_tokens == 9, words


def a_completion_that_calls_a_tool():
    with client() as ai:
        [call] = ai.chat.completions.create(model="tools", messages=MESSAGES, tools=[TOOL]).choices[0].message.tool_calls
        with ai.chat.completions.stream(model="tools", messages=MESSAGES, tools=[TOOL]) as stream:
            streamed = stream.get_final_completion()
    assert (call.function.name, call.function.arguments) == ("weather", "".join(provider.ARGUMENTS))
    [same] = streamed.choices[0].message.tool_calls
    assert same.function.arguments == call.function.arguments and streamed.choices[0].finish_reason == "tool_calls"
    assert last_request()["body"]["tools"] == [TOOL]


def a_whole_response_and_what_is_asked_of_it_later():
    with client() as ai:
        response = ai.responses.create(model="tiny", input="speak")
        assert response.output_text == provider.TEXT and response.usage.output_tokens == 6
        assert ai.responses.retrieve("resp_1").output_text == provider.TEXT
        assert ai.responses.cancel("resp_1").status == "cancelled"
        assert list(ai.responses.input_items.list("resp_1")) == []
        ai.responses.delete("resp_1")
    assert last_request()["method"] == "DELETE"


def a_streamed_response():
    with client() as ai:
        events = list(ai.responses.create(model="tiny", input="speak", stream=True))
        with ai.responses.stream(model="tools", input="speak", tools=[{"name": "weather", "parameters": PARAMETERS, "type": "function"}]) as stream:
            called = stream.get_final_response()
    assert [event.delta for event in events if event.type == "response.output_text.delta"] == provider.WORDS
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == provider.TEXT
    assert called.output[0].arguments == "".join(provider.ARGUMENTS)


def embeddings_and_models():
    with client() as ai:
        embedded = ai.embeddings.create(model="tiny", input=["a", "b"])
        assert [item.embedding for item in embedded.data] == [[0.5, 0.0], [0.5, 1.0]]
        assert [model.id for model in ai.models.list()] == ["tiny", "org/large"]
        assert ai.models.retrieve("org/large").id == "org/large"


def every_refusal_is_the_exception_of_its_status():
    kinds = {
        400: openai.BadRequestError, 403: openai.PermissionDeniedError, 404: openai.NotFoundError, 409: openai.ConflictError,
        413: openai.APIStatusError, 422: openai.UnprocessableEntityError, 429: openai.RateLimitError,
        500: openai.InternalServerError, 503: openai.InternalServerError,
    }  # fmt: skip
    with client() as ai:
        for status, kind in kinds.items():
            for stream in (False, True):
                error = raises(kind, lambda: ai.chat.completions.create(model=f"status-{status}", messages=MESSAGES, stream=stream))
                assert (error.status_code, error.code, error.param, error.type) == (status, f"test_{status}", "model", "test_error")
                assert error.response.headers["x-upstream-request-id"].startswith("req_") and error.request_id
        error = raises(openai.InternalServerError, lambda: ai.responses.create(model="page-502", input="x"))
        assert "Bad gateway" in error.body, error.body


def the_gateway_s_own_refusals_are_too():
    with client() as ai:
        error = raises(openai.NotFoundError, lambda: ai.files.list())
        assert error.code == "unknown_url" and "offers chat/completions" in error.message
        error = raises(openai.BadRequestError, lambda: ai.embeddings.create(model="leak", input="x"))
        assert "*" * len(SECRET) in error.message and "x-you-sent" not in error.response.headers
    with client(token="not-a-client-secret") as stranger:
        error = raises(openai.AuthenticationError, lambda: stranger.models.list())
        assert error.status_code == 401 and error.body["code"] == "invalid_token", error.body
    with client(socket=SOCKET + ".none") as nowhere:
        raises(openai.APIConnectionError, lambda: nowhere.models.list())
    with client(timeout=0.2) as hasty:
        raises(openai.APITimeoutError, lambda: hasty.chat.completions.create(model="hang", messages=MESSAGES))


def a_body_over_the_limit_is_refused_with_its_size():
    with client() as ai:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (4 << 20)}}
        ai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": [image]}])
        assert last_request()["body"]["messages"][0]["content"] == [image]
        error = raises(openai.APIStatusError, lambda: ai.embeddings.create(model="tiny", input="A" * (51 << 20)))
        assert error.status_code == 413 and error.body["code"] == "body_too_large", error.body


def what_may_be_sent_again_is():
    with client(max_retries=2) as ai:
        assert ai.chat.completions.create(model="once-429", messages=MESSAGES).choices
        before = len(upstream.seen()["requests"])
        raises(openai.RateLimitError, lambda: ai.chat.completions.create(model="never-429", messages=MESSAGES))
        assert len(upstream.seen()["requests"]) == before + 1
        raises(openai.InternalServerError, lambda: ai.chat.completions.create(model="status-503", messages=MESSAGES))
        assert len(upstream.seen()["requests"]) == before + 4


def a_stream_that_breaks_is_an_error():
    with client() as ai:
        for call in (
            lambda model: ai.chat.completions.create(model=model, messages=MESSAGES, stream=True),
            lambda model: ai.responses.create(model=model, input="speak", stream=True),
        ):
            error = raises(openai.APIError, lambda: list(call("broken")))
            assert error.code == "provider_broke_off" and "try again" in error.message, error.body
            # Where the module's first words and the cut come at once, nothing has left the kernel yet, and it says so with a 500.
            raises((openai.APIConnectionError, openai.InternalServerError), lambda: list(call("cut")))


def leaving_a_stream_stops_the_provider():
    for model in ("endless", "hang"):
        before = upstream.seen()["left"]
        with client(timeout=DEADLINE_S if model == "endless" else 0.2) as ai:
            if model == "endless":
                with ai.chat.completions.create(model=model, messages=MESSAGES, stream=True) as stream:
                    assert next(stream).choices[0].delta.role == "assistant"
                    assert next(stream).choices[0].delta.content == provider.WORDS[0]
            else:
                raises(openai.APITimeoutError, lambda: ai.responses.create(model=model, input="speak"))
        until(lambda: upstream.seen()["left"] == before + 1, "the provider to see that nobody listens")


def a_slow_reader_holds_the_provider_back():
    with client() as ai, ai.chat.completions.create(model="flood", messages=MESSAGES, stream=True) as stream:
        next(stream)
        sent = [-1, -2]

        def stands_still():
            sent.append(upstream.seen()["flooded"])
            return sent[-1] == sent[-2] == sent[-3]

        until(stands_still, "the flood to stand still")
        # What two sockets and their ends hold; the rest of the flood waits.
        assert sent[-1] < provider.FLOOD_BYTES / 2, sent[-1]
        read = provider.FLOOD_EVENT_BYTES + sum(len(chunk.choices[0].delta.content) for chunk in stream)
    assert read == provider.FLOOD_BYTES


def a_hundred_streams_at_once():
    async def one(ai, number):
        call = ai.chat.completions if number % 2 else ai.responses
        what = {"messages": MESSAGES} if number % 2 else {"input": "speak"}
        said = []
        async for event in await call.create(model="tiny", stream=True, **what):
            text = event.choices[0].delta.content if number % 2 else getattr(event, "delta", None)
            said += [text] if text else []
        return said

    async def all_of_them():
        limits = httpx2.Limits(max_connections=None)
        http = DefaultAsyncHttpxClient(transport=httpx2.AsyncHTTPTransport(uds=SOCKET, limits=limits))
        async with AsyncOpenAI(base_url=BASE_URL, api_key=TOKEN, http_client=http, max_retries=0, timeout=DEADLINE_S) as ai:
            return await asyncio.gather(*(one(ai, number) for number in range(100)))

    assert asyncio.run(all_of_them()) == [provider.WORDS] * 100


def only_named_models_where_the_operator_names_some():
    configure({"provider": "openai", "base_url": upstream.url(), "model": "tiny", "gateway": {"models": ["org/large"]}})
    with client() as ai:
        assert [model.id for model in ai.models.list()] == ["org/large"]
        assert ai.responses.create(model="org/large", input="speak").output_text == provider.TEXT
        error = raises(openai.NotFoundError, lambda: ai.responses.create(model="tiny", input="speak"))
        assert (error.code, error.param) == ("model_not_found", "model")


def a_key_that_the_provider_refuses():
    # The provider knows another key than the kernel; asked again, the kernel has no other.
    configure({"provider": "openai", "base_url": stranger.url(), "model": "tiny"})
    with client() as ai:
        error = raises(openai.AuthenticationError, lambda: ai.chat.completions.create(model="tiny", messages=MESSAGES))
    assert error.code == "invalid_api_key" and "sk-" not in str(error.body), error.body
    assert len(stranger.seen()["requests"]) == 2


def the_echo_where_there_is_no_key():
    configure({})
    with client(token=issue(secret=False)) as ai:
        messages = [{"role": "user", "content": "one two three"}]
        assert ai.chat.completions.create(model="any", messages=messages).choices[0].message.content == "one two three"
        with ai.chat.completions.stream(model="any", messages=messages) as stream:
            assert stream.get_final_completion().choices[0].message.content == "one two three"
        assert ai.responses.create(model="any", input="one two three").output_text == "one two three"
        with ai.responses.stream(model="any", input="one two three") as stream:
            assert stream.get_final_response().output_text == "one two three"
        assert [model.id for model in ai.models.list()] == ["echo"]
        raises(openai.NotFoundError, lambda: ai.embeddings.create(model="any", input="x"))


with kernel.Provider() as upstream, kernel.Provider("sk-another-key-entirely") as stranger:
    try:
        configure({"provider": "openai", "base_url": upstream.url(), "model": "tiny"})
        TOKEN = issue()
        passed = run([
            a_whole_completion, a_streamed_completion, a_completion_that_calls_a_tool,
            a_whole_response_and_what_is_asked_of_it_later, a_streamed_response, embeddings_and_models,
            every_refusal_is_the_exception_of_its_status, the_gateway_s_own_refusals_are_too,
            a_body_over_the_limit_is_refused_with_its_size, what_may_be_sent_again_is, a_stream_that_breaks_is_an_error,
            leaving_a_stream_stops_the_provider, a_slow_reader_holds_the_provider_back, a_hundred_streams_at_once,
            only_named_models_where_the_operator_names_some, a_key_that_the_provider_refuses, the_echo_where_there_is_no_key,
        ])  # fmt: skip
    finally:
        configure({"provider": "echo"})
sys.exit(not passed)
