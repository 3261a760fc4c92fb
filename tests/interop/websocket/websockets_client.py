"""Python's websockets as a caller of the kernel: frames, messages and closes as another implementation reads them."""

import asyncio
import os
import sys
import traceback

import httpx
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
DEADLINE_S = 30
# Where a length takes another form on the wire (RFC 6455 section 5.2), and past what one read or write takes.
LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000]


async def host(method, path, **arguments):
    transport = httpx.AsyncHTTPTransport(uds=SOCKET)
    headers = {"authorization": f"Bearer {HOST_KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=DEADLINE_S) as http:
        answer = await http.request(method, path, headers=headers, **arguments)
    assert answer.is_success, answer.text
    return answer


async def issue(user="websockets", modules=("sockets",)):
    return (await host("POST", "/sessions", json={"user": user, "modules": list(modules)})).json()


def connect(credential, path="/api/sockets/echo", **arguments):
    headers = {"authorization": f"Bearer {credential}"} if credential else {}
    headers |= arguments.pop("headers", {})
    # No pings of the client's own accord: each test says what goes over the wire.
    arguments = {"additional_headers": headers, "max_size": None, "ping_interval": None} | arguments
    return unix_connect(SOCKET, f"ws://localhost{path}", **arguments)


async def echo(socket, message):
    await socket.send(message)
    async with asyncio.timeout(DEADLINE_S):
        return await socket.recv()


async def closed(socket):
    """What the kernel closed with, after whatever it still sent."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as end:
            assert end.rcvd, f"the connection ended without a close frame: {end}"
            return end.rcvd.code


async def text_and_binary_come_back_in_every_length():
    async with connect((await issue())["client_secret"]) as socket:
        assert socket.response.headers["x-midplane-module"].startswith("sockets#")
        for length in LENGTHS:
            assert await echo(socket, "x" * length) == "x" * length
            assert await echo(socket, bytes(length)) == bytes(length)
        assert await echo(socket, "κόσμε 🚀\0") == "κόσμε 🚀\0"


async def fragments_come_back_as_their_message():
    async with connect((await issue())["client_secret"]) as socket:
        assert await echo(socket, ["κό", "", "σμε"]) == "κόσμε"
        assert await echo(socket, [bytes([n]) for n in range(256)]) == bytes(range(256))


async def order_is_kept_whoever_reads_when():
    messages = [f"{n}" * (n % 50) for n in range(2000)]
    async with connect((await issue())["client_secret"]) as socket:
        async with asyncio.timeout(DEADLINE_S):
            sending = asyncio.create_task(send_all(socket, messages))
            assert [await socket.recv() for _ in messages] == messages
            await sending


async def send_all(socket, messages):
    for message in messages:
        await socket.send(message)


async def a_ping_is_answered_with_its_own_payload():
    async with connect((await issue())["client_secret"]) as socket:
        for payload in (b"", b"midplane", bytes(125)):
            async with asyncio.timeout(DEADLINE_S):
                # Only a pong with this payload ends the wait.
                await (await socket.ping(payload))
        await socket.pong(b"nobody asked")
        assert await echo(socket, "still here") == "still here"


async def compression_is_offered_and_declined():
    async with connect((await issue())["client_secret"], compression="deflate") as socket:
        assert "permessage-deflate" in socket.request.headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in socket.response.headers
        assert await echo(socket, "plain " * 1000) == "plain " * 1000


async def a_subprotocol_is_agreed_on_or_none_is():
    token = (await issue())["client_secret"]
    for offered, agreed in (["chat.v1"], "chat.v1"), (["other", "chat.v2", "chat.v1"], "chat.v2"), (["other"], None):
        async with connect(token, "/api/sockets/protocols", subprotocols=offered) as socket:
            assert socket.subprotocol == agreed, socket.subprotocol
            async with asyncio.timeout(DEADLINE_S):
                assert await socket.recv() == (agreed or "none")


async def the_module_may_close_too():
    async with connect((await issue())["client_secret"], "/api/sockets/close") as socket:
        assert await echo(socket, "4001") == "closing"
        assert await closed(socket) == 4001
        assert socket.close_reason == "as you wish"


async def a_client_closes_and_its_code_comes_back():
    for code, reason in ((1000, ""), (1001, "going"), (3000, "registered"), (4999, "κόσμε")):
        async with connect((await issue())["client_secret"]) as socket:
            async with asyncio.timeout(DEADLINE_S):
                await socket.close(code, reason)
            assert (socket.protocol.close_rcvd.code, socket.protocol.close_sent.code) == (code, code)


async def a_reload_says_service_restart_and_the_next_socket_is_the_new_generation():
    token = (await issue())["client_secret"]
    async with connect(token) as socket:
        before = socket.response.headers["x-midplane-module"]
        assert await echo(socket, "before") == "before"
        await host("POST", "/modules/sockets/reload")
        assert await closed(socket) == 1012
    async with connect(token) as socket:
        assert socket.response.headers["x-midplane-module"] != before
        assert await echo(socket, "after") == "after"


async def a_revocation_ends_this_sessions_sockets_with_policy_violation_and_no_others():
    revoked, kept = await issue("revoked"), await issue("kept")
    async with connect(revoked["client_secret"]) as one, connect(revoked["client_secret"]) as two:
        async with connect(kept["client_secret"]) as other:
            await host("DELETE", f"/sessions/{revoked['id']}")
            assert await closed(one) == 1008
            assert await closed(two) == 1008
            assert await echo(other, "not mine") == "not mine"
    await refused(401, "invalid_token", revoked["client_secret"])


async def sockets_at_once_are_not_mixed_up():
    token = (await issue())["client_secret"]

    async def one(name):
        async with connect(token) as socket:
            for n in range(20):
                assert await echo(socket, f"{name}/{n}") == f"{name}/{n}"

    await asyncio.gather(*(one(name) for name in range(32)))


async def refused(status, code, credential, **arguments):
    try:
        async with connect(credential, **arguments):
            raise AssertionError(f"the handshake went through instead of {status} {code}")
    except InvalidStatus as refusal:
        answer = refusal.response
    assert answer.status_code == status, (answer.status_code, answer.body)
    assert answer.headers["content-type"] == "application/problem+json"
    assert f'"{code}"'.encode() in answer.body, answer.body


async def a_handshake_without_the_right_is_refused_in_http():
    await refused(401, "credential_required", None)
    await refused(401, "invalid_token", "mpt_forged")
    token = (await issue())["client_secret"]
    await refused(403, "origin_not_allowed", token, origin="https://example.org")
    await refused(403, "insufficient_scope", (await issue(modules=["hello"]))["client_secret"])


TESTS = [
    text_and_binary_come_back_in_every_length,
    fragments_come_back_as_their_message,
    order_is_kept_whoever_reads_when,
    a_ping_is_answered_with_its_own_payload,
    compression_is_offered_and_declined,
    a_subprotocol_is_agreed_on_or_none_is,
    a_client_closes_and_its_code_comes_back,
    the_module_may_close_too,
    a_reload_says_service_restart_and_the_next_socket_is_the_new_generation,
    a_revocation_ends_this_sessions_sockets_with_policy_violation_and_no_others,
    sockets_at_once_are_not_mixed_up,
    a_handshake_without_the_right_is_refused_in_http,
]


def main():
    failed = 0
    for test in TESTS:
        try:
            asyncio.run(test())
            print(f"ok websockets: {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED websockets: {test.__name__}")
            traceback.print_exc()
    print(f"{len(TESTS) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
