"""Is GET /metrics what Prometheus' own OpenMetrics parser reads, with modules' metrics in it?"""

import os
import time

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families

DEADLINE_S = 30
HOSTILE = 'quote " backslash \\ newline \n # EOF'

client = httpx.Client(
    transport=httpx.HTTPTransport(uds=os.environ["MIDPLANE_SOCKET"]), base_url="http://localhost", timeout=30
)
HOST = {"authorization": f"Bearer {os.environ['MIDPLANE_HOST_KEY']}"}


def samples() -> dict:
    response = client.get("/metrics", headers=HOST).raise_for_status()
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0"), response.headers
    found = {}
    for family in text_string_to_metric_families(response.text):
        assert family.documentation, family
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def shows(name: str, value: float, **labels: str) -> dict:
    """A module in a process of its own tells its numbers some time later."""
    key = f"midplane_module_faults_{name}", frozenset({"module": "faults", **labels}.items())
    deadline = time.monotonic() + DEADLINE_S
    while (found := samples()).get(key) != value:
        assert time.monotonic() < deadline, (key, found.get(key))
        time.sleep(0.02)
    return found


session = client.post("/sessions", headers=HOST, json={"modules": ["faults"]}).raise_for_status().json()
token = {"authorization": f"Bearer {session['client_secret']}"}


def count(**what) -> None:
    client.post("/api/faults/metric", headers=token, json=what).raise_for_status()


samples()
count(labels={"kind": HOSTILE}, help=f"Help: {HOSTILE}", n=3, for_session=True)
shows("tokens_total", 3, kind=HOSTILE)
shows("tokens_by_session_total", 3, kind=HOSTILE, session=session["id"])
count(metric="open_streams", kind="gauge", n=7)
shows("open_streams", 7)
bounds = [0.00001, 0.5, 1.0, 250_000.0, 10_485_760.0]
for n in (0, 1, 300_000):
    count(metric="answer_seconds", kind="histogram", bounds=bounds, n=n)
found = shows("answer_seconds_count", 3)
buckets = {dict(labels)["le"]: value for (name, labels), value in found.items() if name.endswith("faults_answer_seconds_bucket")}
assert buckets == {"1e-05": 1, "0.5": 1, "1.0": 2, "250000.0": 2, "1.048576e+07": 3, "+Inf": 3}, buckets
client.delete(f"/sessions/{session['id']}", headers=HOST).raise_for_status()
assert not any("session" in dict(labels) for _name, labels in samples())
print(f"ok: {len(samples())} samples, read by prometheus_client")
