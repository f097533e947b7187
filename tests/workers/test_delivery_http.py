"""The connection to a destination against servers that misbehave: every answer is bounded, every silence ends, and a refusal is heard."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from recorderd.protocol.delivery import Problem
from recorderd.workers.delivery import http
from recorderd.workers.delivery.failure import Failure, from_status
from recorderd.workers.delivery.http import MAX_ANSWER_BYTES, Answer, Connection

LARGE = bytes(4 << 20)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: x\r\n\r\nok"


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Each connection is handed to `talk`; the URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.05)
    stop = threading.Event()
    talks: list[threading.Thread] = []

    def one(peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.settimeout(10)
            talk(peer)

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                talks.append(threading.Thread(target=one, args=(listening.accept()[0],)))
                talks[-1].start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/base/"
    finally:
        stop.set()
        thread.join()
        listening.close()
        for each in talks:
            each.join(10)
            assert not each.is_alive()


def put(url: str, body: bytes = b"body", watch: Callable[[], None] = lambda: None) -> Answer:
    connection = Connection(url, certificate="", ca_file="", watch=watch)
    try:
        return connection.request("PUT", f"{connection.path}/x", {"content-type": "a/b"}, body)
    finally:
        connection.close()


def head_of(peer: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(4096)
    return data


def failure(talk: Callable[[socket.socket], None], body: bytes = b"body") -> Failure:
    with server(talk) as url, pytest.raises(Failure) as raised:
        put(url, body)
    return raised.value


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_SILENCE_S", 0.3)


def test_a_request_as_it_is_sent() -> None:
    seen: list[bytes] = []

    def talk(peer: socket.socket) -> None:
        data = head_of(peer)
        while not data.endswith(b"body"):
            data += peer.recv(4096)
        seen.append(data)
        peer.sendall(OK)

    with server(talk) as url:
        answer = put(url)
        host = url.split("/")[2]
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"ok", "x")
    assert seen == [
        f"PUT /base/x HTTP/1.1\r\nhost: {host}\r\ncontent-type: a/b\r\ncontent-length: 4\r\n\r\nbody".encode()
    ]


def test_silence_ends(impatient: None) -> None:
    """No answer at all, and a body that nobody reads."""
    over = threading.Event()

    def silent(peer: socket.socket) -> None:
        head_of(peer)
        over.wait(5)

    for body in (b"body", bytes(64 << 20)):
        with server(silent) as url, pytest.raises(Failure) as raised:
            try:
                put(url, body)
            finally:
                over.set()
        over.clear()
        assert (raised.value.problem, raised.value.reason) == (Problem.PASSING, "it did not answer in time")


def test_a_crawl_ends_too(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that takes a little now and then never trips the socket's own time-out."""
    monkeypatch.setattr(http, "_SLOWEST_BYTES_S", 1 << 30)
    monkeypatch.setattr(
        http.time, "monotonic", iter(range(10_000)).__next__
    )  # every look at the clock is a second later

    def crawl(peer: socket.socket) -> None:
        while peer.recv(65536):
            pass

    found = failure(crawl, LARGE)
    assert (found.problem, found.reason) == (Problem.PASSING, "it did not answer in time")


def test_a_refusal_before_the_body_is_read_is_heard() -> None:
    """The server answers and closes while we still send: what it said counts, not the broken pipe."""

    def refuse(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(1 << 20):  # a server in its right mind lets the answer arrive
            pass

    with server(refuse) as url:
        assert put(url, LARGE).status == 403


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=range(8),
)  # fmt: skip
def test_nonsense_is_a_failure_that_may_pass(answer: bytes) -> None:
    def talk(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(answer)

    assert failure(talk).problem is Problem.PASSING


def test_an_endless_answer_is_read_so_far_and_no_further() -> None:
    def endless(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with server(endless) as url:
        assert len(put(url).body) == MAX_ANSWER_BYTES


def test_redirects_are_answers() -> None:
    def redirect(peer: socket.socket) -> None:
        head_of(peer)
        peer.sendall(b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.2/\r\nContent-Length: 0\r\n\r\n")

    with server(redirect) as url:
        assert put(url).status == 307


def test_a_connection_is_kept_and_made_anew() -> None:
    connections: list[int] = []

    def twice(peer: socket.socket) -> None:
        connections.append(0)
        for _ in range(2):
            head_of(peer)
            connections[-1] += 1
            peer.sendall(OK)

    with server(twice) as url:
        connection = Connection(url, certificate="", ca_file="", watch=lambda: None)
        answered = failed = 0
        for _ in range(6):
            try:
                answered += connection.request("PUT", "/x", {}, b"").status == 200
            except Failure as failure:  # the server had closed it meanwhile: the next try has a new one
                assert failure.problem is Problem.PASSING
                failed += 1
        connection.close()
    assert answered >= 4
    assert failed <= 2
    assert max(connections) == 2


def test_given_up_between_two_pieces() -> None:
    def watch() -> None:
        raise Failure(Problem.GIVEN_UP, "it was given up")

    def talk(peer: socket.socket) -> None:
        while peer.recv(65536):
            pass

    with server(talk) as url, pytest.raises(Failure) as raised:
        put(url, LARGE, watch)
    assert raised.value.problem is Problem.GIVEN_UP


@pytest.mark.parametrize(
    ("status", "code", "problem"),
    [
        (500, "", Problem.PASSING), (503, "SlowDown", Problem.PASSING), (429, "", Problem.PASSING), (400, "BadDigest", Problem.PASSING),
        (403, "RequestTimeTooSkewed", Problem.PASSING), (403, "AccessDenied", Problem.DENIED), (401, "", Problem.DENIED),
        (507, "", Problem.FULL), (413, "", Problem.FULL), (402, "", Problem.FULL), (400, "QuotaExceeded", Problem.FULL),
        (404, "NoSuchBucket", Problem.ABSENT), (400, "", Problem.REFUSED), (301, "", Problem.REFUSED), (422, "", Problem.REFUSED),
    ],
)  # fmt: skip
def test_what_is_worth_another_try(status: int, code: str, problem: Problem) -> None:
    assert from_status(status, code).problem is problem


def test_retry_after_is_bounded_and_parsed_strictly() -> None:
    assert from_status(503, retry_after="7").after_s == 7
    assert from_status(503, retry_after="99999999").after_s == 300
    for nonsense in ("", "-1", "1.5", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 40, "٣"):
        assert from_status(503, retry_after=nonsense).after_s == 0


def test_what_a_server_says_is_made_printable() -> None:
    found = from_status(500, "\x1b[2J", "x" * 10_000)
    assert "\x1b" not in found.reason
    assert len(found.reason) < 400
