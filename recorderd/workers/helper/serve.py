"""The helper's socket: who may speak, one request per connection, answers, and an end when nobody asks any more."""

from __future__ import annotations

import logging
import socket
import struct
import threading

from recorderd.protocol import helper
from recorderd.workers.helper import verbs
from recorderd.workers.helper.capture import NoSuchInterface, packets
from recorderd.workers.helper.programs import ProgramFailed, ProgramMissing
from recorderd.workers.helper.verbs import Refused, Rules

log = logging.getLogger(__name__)
_REQUEST_BYTES = 4096
_REQUEST_S = 10.0
_ANSWER_S = 60.0
_BESIDE = 4  # requests served at the same time
_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7))


def serve(listening: socket.socket, rules: Rules, *, idle_s: float | None) -> None:
    """Serves until no request came for `idle_s` (systemd starts the helper again with the next one); None: for ever."""
    slots = threading.BoundedSemaphore(_BESIDE)
    at_work: set[socket.socket] = set()
    listening.settimeout(idle_s)
    while True:
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            if not at_work:
                return
            continue
        slots.acquire()
        at_work.add(connection)
        threading.Thread(target=_one, args=(connection, rules, slots, at_work), daemon=True).start()


def _one(
    connection: socket.socket, rules: Rules, slots: threading.BoundedSemaphore, at_work: set[socket.socket]
) -> None:
    try:
        with connection:
            _converse(connection, rules)
    except OSError as error:
        log.info("a client went away: %s", error)
    finally:
        at_work.discard(connection)
        slots.release()


def _converse(connection: socket.socket, rules: Rules) -> None:
    _, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    connection.settimeout(_REQUEST_S)
    try:
        line = _line(connection)  # read in any case: closing on unread bytes would take the answer back
        if uid not in (0, rules.owner):
            log.warning("refused user %d", uid)
            _send(connection, helper.Failed(text="only the recorder may ask", refused=True))
            return
        request = helper.decode_request(line)
    except (ValueError, TimeoutError) as error:
        _send(connection, helper.Failed(text=f"not a request: {error}", refused=True))
        return
    connection.settimeout(_ANSWER_S)
    log.info("%s", request)
    if isinstance(request, helper.Capture):
        _capture(connection, request)
        return
    _send(connection, answer(rules, request, lambda text: _send(connection, helper.Progress(text=text))))


def answer(rules: Rules, request: helper.Request, tell: verbs.Tell) -> helper.AnyReply:
    """Does what is asked; every failure becomes a `Failed` in words."""
    try:
        return _do(rules, request, tell)
    except Refused as refused:
        log.warning("refused: %s", refused)
        return helper.Failed(text=str(refused), refused=True)
    except (ProgramFailed, ProgramMissing) as failed:
        return helper.Failed(text=str(failed))
    except OSError as error:
        return helper.Failed(text=f"{error.filename or 'the system'}: {error.strerror or error}")


def _do(rules: Rules, request: helper.Request, tell: verbs.Tell) -> helper.AnyReply:
    match request:
        case helper.ListDisks():
            return verbs.list_disks(rules)
        case helper.MakeFileSystem():
            return verbs.make_file_system(rules, request, tell)
        case helper.Mount():
            return verbs.mount(rules, request)
        case helper.Unmount():
            return verbs.unmount(rules, request)
        case helper.CheckFileSystem():
            return verbs.check_file_system(rules, request, tell)
        case helper.ReadHealth():
            return verbs.read_health(rules, request)
        case helper.SetTimeout():
            return verbs.set_timeout(rules, request)
        case helper.Reboot():
            return verbs.reboot(rules)
        case _:
            raise Refused("not served here")


def _capture(connection: socket.socket, request: helper.Capture) -> None:
    try:
        found = packets(request.interface, request.seconds, request.max_bytes)
        first = next(found)
    except (NoSuchInterface, OSError) as error:
        _send(connection, helper.Failed(text=str(error), refused=isinstance(error, NoSuchInterface)))
        return
    _send(connection, helper.Done())
    connection.sendall(first)
    for packet in found:
        connection.sendall(packet)


def _line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(_REQUEST_BYTES - len(data))
        if not more:
            raise ValueError("cut short, or too long")
        data += more
    return data


def _send(connection: socket.socket, reply: helper.AnyReply) -> None:
    connection.sendall(helper.encode(reply))
