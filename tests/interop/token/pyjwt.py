"""PyJWT and the kernel's token code read each other's tokens, as far as the kernel's profile goes."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import traceback

import httpx
import jwt

JWS = os.environ["JWS"]
SOCKET = os.environ["MIDPLANE_SOCKET"]
HOST_KEY = os.environ["MIDPLANE_HOST_KEY"]
KEY = bytes(range(64))
KID = "test-key"
NOW = int(time.time())
CLAIMS = {
    "iss": "midplane:test",
    "sub": "me",
    "aud": ["hello", "chat"],
    "jti": "ses_test",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 600,
    "scope": "read write",
}
HEADER = b'{"alg":"HS256","kid":"test-key","typ":"JWT"}'


def jws(*arguments, stdin=None):
    command = [JWS, arguments[0], "--key", KEY.hex(), "--kid", KID, *arguments[1:]]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)


def ours_accepts(token):
    """The claims, or None. Refusing is exit code 1, and nothing else is."""
    answer = jws("verify", token)
    assert answer.returncode in (0, 1), answer
    assert (answer.returncode == 0) == bool(answer.stdout), answer
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def seal(header, payload=None, digest=hashlib.sha256):
    """Any header over the claims, signed with the right key."""
    payload = b64(json.dumps(CLAIMS, separators=(",", ":")).encode()) if payload is None else payload
    signed = f"{b64(header)}.{payload}"
    return f"{signed}.{b64(hmac.digest(KEY, signed.encode(), digest))}"


def pyjwt_accepts_ours():
    token = jws("sign", stdin=json.dumps(CLAIMS)).stdout.strip()
    read = jwt.decode(token, KEY, algorithms=["HS256"], audience="hello", issuer="midplane:test")
    assert read == CLAIMS, read
    assert jwt.get_unverified_header(token) == json.loads(HEADER)
    for wrong in (b"x" * 64, KEY[:-1]):
        try:
            jwt.decode(token, wrong, algorithms=["HS256"], audience="hello")
        except jwt.InvalidSignatureError:
            continue
        raise AssertionError("accepted under another key")


def ours_accepts_the_profile_of_theirs():
    # PyJWT writes the members in an order of its own; sorted, they are the profile's.
    token = jwt.encode(CLAIMS, KEY, algorithm="HS256", headers={"kid": KID}, sort_headers=True)
    assert base64.urlsafe_b64decode(token.split(".")[0] + "==") == HEADER, token
    assert ours_accepts(token) == CLAIMS
    assert ours_accepts(seal(HEADER)) == CLAIMS


def ours_refuses_every_other_header():
    unsorted = jwt.encode(CLAIMS, KEY, algorithm="HS256", headers={"kid": KID}, sort_headers=False)
    others = [
        jwt.encode(CLAIMS, KEY, algorithm=algorithm, headers={"kid": KID, **more}, sort_headers=True)
        for algorithm, more in [
            ("HS384", {}),
            ("HS512", {}),
            ("HS256", {"typ": "at+jwt"}),
            ("HS256", {"typ": None}),
            ("HS256", {"kid": "other-key"}),
            ("HS256", {"jwk": {"kty": "oct", "k": b64(KEY)}}),
            ("HS256", {"crit": ["exp"], "exp": NOW + 600}),
            ("HS256", {"x5u": "https://localhost/"}),
        ]
    ]
    others += [
        jwt.encode(CLAIMS, None, algorithm="none", headers={"kid": KID}, sort_headers=True),
        jwt.encode(CLAIMS, KEY, algorithm="HS256"),
    ]
    if base64.urlsafe_b64decode(unsorted.split(".")[0] + "==") != HEADER:
        others.append(unsorted)
    others += [
        seal(header)
        for header in (
            b'{"typ":"JWT","alg":"HS256","kid":"test-key"}',
            b'{"alg":"none","kid":"test-key","typ":"JWT"}',
            b'{"alg":"RS256","kid":"test-key","typ":"JWT"}',
            b'{"alg":"HS256","alg":"HS256","kid":"test-key","typ":"JWT"}',
            b'{"alg": "HS256", "kid": "test-key", "typ": "JWT"}',
        )
    ]
    # A token of ours under its own header, to know that the headers decide.
    assert ours_accepts(seal(HEADER))
    for token in others:
        assert ours_accepts(token) is None, jwt.get_unverified_header(token)


def ours_refuses_every_other_form():
    token = seal(HEADER)
    signed, tag = token.rsplit(".", 1)
    header, payload = signed.split(".")
    for name, forged in {
        "padded": token + "=",
        "padded payload": f"{header}.{payload}=.{tag}",
        "space before": " " + token,
        "space after": token + " ",
        "line end": token + "\n",
        "space inside": f"{header}.{payload}. {tag}",
        "cut tag": token[:-4],
        "half a tag": token[:-22],
        "no tag": signed + ".",
        "no tag and no dot": signed,
        "longer tag": token + "AAAA",
        "sha512 cut": f"{signed}.{b64(hmac.digest(KEY, signed.encode(), 'sha512')[:32])}",
        "claim twice": seal(HEADER, b64(json.dumps(CLAIMS).replace("{", '{"sub":"root",', 1).encode())),
        "claim more": seal(HEADER, b64(json.dumps({**CLAIMS, "admin": True}).encode())),
        "no exp": seal(HEADER, b64(json.dumps({k: v for k, v in CLAIMS.items() if k != "exp"}).encode())),
    }.items():
        assert ours_accepts(forged) is None, name


def the_kernel_refuses_what_they_forge():
    with httpx.Client(transport=httpx.HTTPTransport(uds=SOCKET), base_url="http://localhost", timeout=30) as http:
        wish = {"user": "me", "modules": ["hello"]}
        answer = http.post("/sessions", json=wish, headers={"authorization": f"Bearer {HOST_KEY}"})
        assert answer.status_code == 201, answer.text
        good = answer.json()["client_secret"]
        header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
        assert list(header) == ["alg", "kid", "typ"] and claims["jti"] == answer.json()["id"]

        def ask(token):
            return http.get("/api/hello/hello", headers={"authorization": f"Bearer {token}"})

        assert ask(good).status_code == 200
        forged = {
            "a key of their own": jwt.encode(claims, KEY, algorithm="HS256", headers=header, sort_headers=True),
            "the host key as key": jwt.encode(claims, HOST_KEY, algorithm="HS256", headers=header, sort_headers=True),
            "the kid as key": jwt.encode(claims, header["kid"] * 2, algorithm="HS256", headers=header, sort_headers=True),
            "another kid": jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": "x"}, sort_headers=True),
            "alg none": jwt.encode(claims, None, algorithm="none", headers={"kid": header["kid"]}, sort_headers=True),
            "alg none and the tag": jwt.encode(claims, None, algorithm="none").rstrip(".") + "." + good.rsplit(".", 1)[1],
            "HS512": jwt.encode(claims, KEY, algorithm="HS512", headers={"kid": header["kid"]}, sort_headers=True),
            "longer life": ".".join(
                [good.split(".")[0], b64(json.dumps({**claims, "exp": claims["exp"] + 1}).encode()), good.split(".")[2]]
            ),
            "padding": good + "=",
            "cut tag": good[:-1],
            "no tag": good.rsplit(".", 1)[0] + ".",
        }
        told = set()
        for name, token in forged.items():
            answer = ask(token)
            assert answer.status_code == 401, f"{name}: {answer.status_code} {answer.text}"
            assert 'error="invalid_token"' in answer.headers["www-authenticate"], name
            problem = answer.json()
            del problem["instance"]
            told.add(json.dumps(problem, sort_keys=True))
        assert len(told) == 1, told
        assert ask(good).status_code == 200


TESTS = [
    pyjwt_accepts_ours,
    ours_accepts_the_profile_of_theirs,
    ours_refuses_every_other_header,
    ours_refuses_every_other_form,
    the_kernel_refuses_what_they_forge,
]


def main():
    failed = 0
    for test in TESTS:
        try:
            test()
            print(f"ok PyJWT {jwt.__version__}: {test.__name__}")
        except Exception:
            failed += 1
            print(f"FAILED PyJWT {jwt.__version__}: {test.__name__}")
            traceback.print_exc()
    print(f"{len(TESTS) - failed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


main()
