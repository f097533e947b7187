"""Digest and Basic: the RFCs' own examples, and what servers ask for."""

from __future__ import annotations

import hashlib
import re

import pytest

from recorderd.model.causes import GapCause
from recorderd.rtsp.auth import Authenticator, Challenge, NotAllowed, digest, parse_challenges
from recorderd.rtsp.events import Ended
from recorderd.rtsp.transitions import State
from tests.rtsp.packets import METADATA_SECTION, Server, client, converse, reply

SDP = f"v=0\r\n{METADATA_SECTION}"


def fields(value: str) -> dict[str, str]:
    return {k: q or p for k, q, p in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', value)}


def test_the_example_of_rfc_2617():
    challenge = parse_challenges(
        [
            'Digest realm="testrealm@host.com", qop="auth,auth-int", '
            'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
        ]
    )[0]
    value = digest(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", 1, "0a4f113b")
    assert fields(value)["response"] == "6629fae49393a05397450978507c4ef1"
    assert 'opaque="5ccc069c403ebaf9f0171e9517f40e41"' in value
    assert "nc=00000001" in value


def test_the_examples_of_rfc_7616():
    base = 'realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"'
    expected = {
        "MD5": "8ca523f5e9506fed4657c9700eebdbec",
        "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, response in expected.items():
        challenge = parse_challenges([f"Digest {base}, algorithm={algorithm}"])[0]
        cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
        value = digest(challenge, "Mufasa", "Circle of Life", "GET", "/dir/index.html", 1, cnonce)
        assert fields(value)["response"] == response


def test_without_qop_as_rfc_2069():
    challenge = Challenge("digest", {"realm": "r", "nonce": "n"})

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    value = digest(challenge, "u", "p", "PLAY", "rtsp://x/", 1, "unused")
    assert fields(value)["response"] == md5(f"{md5('u:r:p')}:n:{md5('PLAY:rtsp://x/')}")
    assert "cnonce" not in value
    assert "qop" not in value


def test_the_strongest_scheme_is_chosen():
    asker = Authenticator("u", "p", True, lambda: "c")
    assert asker.take_challenge(
        [
            'Basic realm="x"',
            'Digest realm="x", nonce="1", algorithm=MD5, Digest realm="x", nonce="2", algorithm=SHA-256',
            'Digest realm="x", nonce="3", algorithm=MD5',
        ]
    )
    assert fields(asker.authorization("PLAY", "rtsp://x/"))["algorithm"] == "SHA-256"


def test_basic_only_where_it_is_allowed():
    refuser = Authenticator("u", "p", False, lambda: "c")
    with pytest.raises(NotAllowed, match="allow_basic"):
        refuser.take_challenge(['Basic realm="x"'])
    asker = Authenticator("Aladdin", "open sesame", True, lambda: "c")
    assert asker.take_challenge(['Basic realm="x"'])
    assert asker.authorization("PLAY", "rtsp://x/") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_no_downgrade_when_digest_was_offered_once():
    """A second 401 that offers Basic only is refused where Basic is not allowed."""
    asker = Authenticator("u", "p", False, lambda: "c")
    asker.take_challenge(['Digest realm="x", nonce="1"'])
    with pytest.raises(NotAllowed):
        asker.take_challenge(['Basic realm="x"'])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "offered: none"),
        (['Digest realm="x", nonce="n", algorithm=SHA-1024'], "offered: digest"),
        (['Digest realm="x", nonce="n", qop="auth-int"'], "offered: digest"),
        (["NTLM"], "offered: ntlm"),
    ],
)
def test_schemes_that_are_not_known(values, reason):
    with pytest.raises(NotAllowed, match=reason):
        Authenticator("u", "p", True, lambda: "c").take_challenge(values)


def test_quotes_in_names_are_escaped_and_secrets_stay_out_of_reprs():
    asker = Authenticator('u"x', "hunter2", False, lambda: "c")
    asker.take_challenge(['Digest realm="x", nonce="1"'])
    assert 'username="u\\"x"' in asker.authorization("PLAY", "rtsp://x/")
    assert "hunter2" not in repr(asker)


class Guard:
    """A server that checks Digest as RFC 7616 says, independent of the client's code."""

    def __init__(
        self, *, algorithm: str = "MD5", qop: str = "auth", password: str = "pass", stale_after: int = 0
    ) -> None:
        self.algorithm, self.qop, self.password = algorithm, qop, password
        self.stale_after = stale_after
        self.nonce = "nonce0"
        self.good = 0
        self.counts: list[int] = []

    def __call__(self, method: str, headers: dict[str, str]) -> bytes | None:
        given = fields(headers.get("authorization", ""))
        stale = ""
        if given and self.stale_after and self.good >= self.stale_after and given["nonce"] == self.nonce:
            self.nonce, self.good = self.nonce + "x", 0
            stale = ", stale=true"
        elif given and given["nonce"] == self.nonce and given["response"] == self._expected(method, given):
            self.good += 1
            if self.qop:
                self.counts.append(int(given["nc"], 16))
            return None
        qop = f', qop="{self.qop}"' if self.qop else ""
        value = f'Digest realm="cam", nonce="{self.nonce}", algorithm={self.algorithm}{qop}{stale}'
        return reply(401, headers, f"WWW-Authenticate: {value}\r\n")

    def _expected(self, method: str, given: dict[str, str]) -> str:
        def h(text: str) -> str:
            return hashlib.new(self.algorithm.replace("-", ""), text.encode()).hexdigest()

        ha1, ha2 = h(f"user:cam:{self.password}"), h(f"{method}:{given['uri']}")
        if self.qop:
            return h(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{ha2}")
        return h(f"{ha1}:{given['nonce']}:{ha2}")


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("qop", ["auth", ""])
@pytest.mark.parametrize("stale_after", [0, 2])
def test_a_whole_session_with_digest(algorithm, qop, stale_after):
    guard = Guard(algorithm=algorithm, qop=qop, stale_after=stale_after)
    server, subject = Server(SDP, hook=guard), client(user="user", password="pass")
    subject.start(0)
    converse(subject, server)
    assert subject.state is State.PLAYING
    if qop and not stale_after:
        assert guard.counts == [1, 2, 3, 4]


def test_a_wrong_password_is_tried_once():
    guard = Guard()
    server, subject = Server(SDP, hook=guard), client(user="user", password="wrong")
    subject.start(0)
    events = converse(subject, server)
    assert [type(event) for event in events] == [Ended]
    assert events[0].cause is GapCause.UNAUTHORIZED
    assert len(server.seen) == 2


def test_a_server_with_ever_new_nonces_does_not_make_us_ask_forever():
    number = iter(range(1000))

    def hook(method, headers):
        return reply(401, headers, f'WWW-Authenticate: Digest realm="x", nonce="{next(number)}"\r\n')

    server, subject = Server(SDP, hook=hook), client(user="user", password="pass")
    subject.start(0)
    events = converse(subject, server)
    assert events[0].cause is GapCause.UNAUTHORIZED
    assert len(server.seen) < 6


def test_without_credentials_the_reason_is_said():
    server, subject = Server(SDP, hook=Guard()), client()
    subject.start(0)
    events = converse(subject, server)
    assert "none is set" in events[0].detail
