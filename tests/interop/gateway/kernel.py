"""The kernel's socket, the provider behind it, and the few lines of a test runner."""

import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import httpx2

SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
SECRET_ID = os.environ.get("MIDPLANE_SECRET_ID", "test-key")
SECRET = os.environ.get("MIDPLANE_SECRET", "sk-midplane-interop")
BASE_URL = "http://localhost/api/chat/v1"
DEADLINE_S = 30


def host():
    headers = {"authorization": f"Bearer {HOST_KEY}"}
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=SOCKET), base_url="http://localhost", headers=headers, timeout=DEADLINE_S)


def configure(config):
    """Swaps the chat module for one with this configuration."""
    with host() as kernel:
        answer = kernel.post("/modules/chat/reload", params={"wait": "drained"}, json={"config": config})
    assert answer.status_code == 200, answer.text


def issue(secret=True):
    """A session's client secret."""
    wish = {"user": "interop", "modules": ["chat"], **({"secret_key_id": SECRET_ID} if secret else {})}
    with host() as kernel:
        answer = kernel.post("/sessions", json=wish)
    assert answer.status_code == 201, answer.text
    return answer.json()["client_secret"]


class Provider:
    """provider.py, on a port of its own."""

    def __init__(self, key=SECRET):
        self.key = key

    def __enter__(self):
        program = Path(__file__).with_name("provider.py")
        self.process = subprocess.Popen([sys.executable, "-B", program, self.key], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def seen(self):
        return httpx2.get(f"http://127.0.0.1:{self.port}/seen", timeout=DEADLINE_S).json()


def until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def run(tests):
    failed = 0
    for test in tests:
        try:
            test()
            print(f"ok {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED {test.__name__}")
            traceback.print_exc()
    print(f"{len(tests) - failed} passed, {failed} failed", flush=True)
    return failed == 0 and len(tests) > 0
