"""The judge itself: what it makes of bytes whose meaning RFC 6455 gives."""

import unittest

from judge import BINARY, TEXT, Answer, compare, judge

LIMIT = 1000
HELLO = "818537fa213d7f9f4d5158"  # section 5.7: "Hello", masked


def masked(head, payload=b""):
    """A frame with a mask of zeros, of a header in hexadecimal without one."""
    return bytes.fromhex(head) + bytes(4) + payload


class Judge(unittest.TestCase):
    def check(self, stream, messages=(), codes=(), early=(), pings=()):
        reading = judge(stream, LIMIT)
        self.assertEqual(reading.messages, list(messages))
        self.assertEqual(reading.codes, set(codes))
        self.assertEqual(reading.early, set(early))
        self.assertEqual(reading.pings, list(pings))

    def test_messages(self):
        hello = (TEXT, b"Hello")
        self.check(b"")
        self.check(bytes.fromhex(HELLO), [hello])
        self.check(bytes.fromhex(HELLO * 2), [hello, hello])
        self.check(masked("0183", b"Hel") + masked("8082", b"lo"), [hello])
        self.check(masked("0183", b"Hel") + masked("8981", b"?") + masked("8082", b"lo"), [hello], pings=[b"?"])
        self.check(masked("82fe0100", bytes(256)), [(BINARY, bytes(256))])
        self.check(masked("0181", b"\xe2") + masked("8082", b"\x82\xac"), [(TEXT, "€".encode())])
        self.check(masked("82fe03e8", bytes(LIMIT)), [(BINARY, bytes(LIMIT))])

    def test_closes(self):
        self.check(masked("8880"), codes={None, 1000})
        self.check(masked("8882", b"\x03\xe8") + b"whatever", codes={1000})
        self.check(masked("8885", b"\x0f\xa0bye"), codes={4000})
        self.check(masked("8881", b"\x03"), codes={1002})
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999):
            self.check(masked("8882", code.to_bytes(2, "big")), codes={1002})
        for code in (1012, 1014, 5000, 65535):
            self.check(masked("8882", code.to_bytes(2, "big")), codes={code, 1002})
        self.check(masked("8883", b"\x03\xe8\xff"), codes={1002, 1007})

    def test_faults(self):
        for head in ("c180", "a180", "9180", "8380", "8b80", "8f80", "8080", "0880", "0980"):
            self.check(bytes.fromhex(HELLO) + masked(head), [(TEXT, b"Hello")], codes={1002})
        self.check(bytes.fromhex("810548656c6c6f"), codes={1002})
        self.check(masked("89fe007e", bytes(126)), codes={1002})
        self.check(masked("0181", b"a") + masked("8181", b"b"), codes={1002})
        self.check(masked("8181", b"\xff"), codes={1007})
        self.check(masked("8182", b"\xe2\x82"), codes={1007})
        self.check(masked("0181", b"\xff") + masked("8081", b"x"), codes={1007}, early={1007})
        self.check(masked("82fe03e9"), codes={1009})
        self.check(masked("02fe03e8", bytes(LIMIT)) + masked("8081", b"x"), codes={1009})
        self.check(masked("82ff7fffffffffffffff"), codes={1009})

    def test_what_the_rfc_leaves_open(self):
        # Half of a header, of a payload, and a text that is wrong before it is whole.
        self.check(bytes.fromhex("8185"), early={1002})
        self.check(masked("8185", b"Hel"))
        self.check(masked("8185", b"\xff"), early={1007})
        self.check(masked("c185", b"x"), early={1002})
        # Not the shortest form of a length.
        self.check(masked("82fe0001", b"x"), [(BINARY, b"x")], early={1002})

    def test_an_answer_is_compared(self):
        def answered(stream, octets, patient=False):
            answer = Answer()
            answer.feed(bytes.fromhex(octets))
            return compare(judge(stream, LIMIT), answer, patient)

        hello, echo = bytes.fromhex(HELLO), "810548656c6c6f"
        close, closed = masked("8882", b"\x03\xe8"), "880203e8"
        self.assertIsNone(answered(hello + close, echo + closed, patient=True))
        self.assertIsNone(answered(hello + close, "010348656c" + "8900" + "80026c6f" + closed, patient=True))
        self.assertIsNone(answered(hello + close, closed))
        # Who stops without a Close may be left in the middle of an echo.
        self.assertIsNone(answered(hello, echo[:-2]))
        for stream, octets, patient in [
            (hello + close, closed, True),  # an echo is missing
            (hello + close, echo, False),  # no Close
            (hello + close, echo + "880203e9", False),  # another code
            (hello + close, closed + echo, False),  # a frame behind the Close
            (hello, "810548656c6c70", False),  # another text
            (hello, "820548656c6c6f", False),  # another kind
            (hello, echo * 2, False),  # twice
            (hello, HELLO, False),  # masked
            (hello, "c10548656c6c6f", False),  # compressed
            (hello, "817e000548656c6c6f", False),  # masked, and a length too long
            (hello + close, echo[:-2], False),  # cut
            (hello, "8a00", False),  # a pong for no ping
            (masked("8181", b"\xff"), "880203e8", False),  # not 1007
        ]:
            self.assertIsNotNone(answered(stream, octets, patient), octets)


unittest.main()
