"""One RTSP session of a receiver, from a fresh connection to its end: the client's events become calls of the sink.

The state machine is `rtsp.Client`; this file adds what needs a clock and a connection: when the session counts as open, silence and
what to do about it, intervals without usable data, the rate cap, and media time that jumps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from recorderd.ingest.connecting import cause_of
from recorderd.ingest.media_time import MediaTime
from recorderd.ingest.rate_cap import RateCap
from recorderd.ingest.silence import EVENTS_QUIET_NS, LEAST_QUIET_NS, MediaWatch, Verdict
from recorderd.ingest.udp import UdpSide
from recorderd.ingest.wire import Wire
from recorderd.model.causes import GapCause
from recorderd.model.ports import ArrivalTimes, StreamSession, StreamSink
from recorderd.model.stream import AccessUnit, MediaKind, TrackFormat
from recorderd.rtsp import events
from recorderd.rtsp.client import Client
from recorderd.rtsp.receiver import Receiver
from recorderd.rtsp.transitions import State

FORMAT_WAIT_NS = 3_000_000_000  # for parameter sets in band, before the session opens without them
KEY_FRAME_WAIT_NS = 30_000_000_000  # then the operator is told why nothing is recorded
HELD_BYTES = 4 * 1024 * 1024  # of units that wait for that
MAX_RESTARTS = 10
BUDGET_BYTES = 4 * 1024 * 1024  # read per sweep; the rest waits in the kernel, so that no camera takes the others' time
BEHIND_NS = 5_000_000_000  # without a sweep that read all there was


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session ended. `opened`: media could have come. `redirect`: where the camera says the stream is."""

    cause: GapCause
    detail: str
    opened: bool
    stopped: bool = False
    redirect: str = ""


@dataclass(slots=True)
class Tally:
    """What one session counted, for `status`."""

    bytes_received: int = 0
    units: int = 0
    lost_packets: int = 0
    restarts: int = 0


@dataclass(slots=True)
class _Hole:
    """Packets of a track are missing since `from_ns`; ends at the next unit that decodes on its own."""

    from_ns: int
    packets: int


class Session:
    """Drive it: `begin`, then `drain` whenever there may be bytes and `tick` every second or so, until `done` has its outcome."""

    def __init__(
        self,
        *,
        client: Client,
        wire: Wire,
        udp: UdpSide | None,
        sink: StreamSink,
        next_session: Callable[[tuple[TrackFormat, ...], int, ArrivalTimes], StreamSession],
        now_ns: int,
        rate_cap: RateCap,
        patience_s: float,
        done: asyncio.Future[Outcome],
        on_probe: Callable[[], None],
        on_remark: Callable[[str], None],
        on_rate: Callable[[str], None],
    ) -> None:
        self._client = client
        self._wire = wire
        self._udp = udp
        self._sink = sink
        self._next_session = next_session
        self._rate_cap = rate_cap
        self._patience_s = patience_s
        self._done = done
        self._on_probe = on_probe
        self._on_remark = on_remark
        self._on_rate = on_rate
        self._now_ns = now_ns
        self.watch = MediaWatch(now_ns, patience_s=patience_s)
        self.tally = Tally()
        self.opened = False  # PLAY was answered
        self.unreachable: GapCause | None = None  # what the last probe by TCP connect found
        self._opened_ns = 0
        self._formats: list[TrackFormat | None] = []
        self._session: StreamSession | None = None
        self._held: list[AccessUnit] = []
        self._held_bytes = 0
        self._watched = MediaKind.VIDEO
        self._events_only = False  # nothing but metadata
        self._kinds: list[MediaKind] = []  # per track
        self._rates: list[int] = []  # per track, Hz
        self._watched_receiver: Receiver | None = None
        self._times = MediaTime((), -1, self.watch)
        self._holes: dict[int, _Hole] = {}
        self._capped_since_ns: int | None = None
        self._behind_since_ns: int | None = None
        self._quiet_from_ns: int | None = None
        self._quiet_answered = False
        self._delivered = False  # something of the watched tracks

    @property
    def session(self) -> StreamSession | None:
        """As the sink knows it; None before it opened."""
        return self._session

    def begin(self, now_ns: int) -> None:
        self._client.start(now_ns)
        self._after(now_ns)

    def stop(self, now_ns: int) -> None:
        self._client.stop(now_ns)
        self._after(now_ns)

    def ask_for_key_frame(self, now_ns: int) -> None:
        self._client.ask_for_key_frame(now_ns)
        self._after(now_ns)

    def abandon(self, now_ns: int, cause: GapCause, detail: str) -> None:
        """Ends the session without a word to the camera."""
        self._client.lost_connection(now_ns, cause, detail)
        self._after(now_ns)

    # --- bytes -------------------------------------------------------------------------------------------

    def drain(self, view: memoryview, now_ns: int) -> None:
        """Reads what is there into `view`, which is borrowed until this returns."""
        read = 0
        while not self._done.done() and read < BUDGET_BYTES:
            kept = len(self._client.rest)
            if kept:
                view[:kept] = self._client.rest
            if self._client.behind:
                self._behind_since_ns = self._behind_since_ns or now_ns
                self._client.receive(view, kept, now_ns)
                self._after(now_ns)
                self._note_bytes(now_ns)
                break
            room = len(view) - kept
            try:
                count = self._wire.receive_into(view[kept:])
            except BlockingIOError:
                self._behind_since_ns = None
                break
            except OSError as error:
                cause, detail = cause_of(error)
                if isinstance(error, TimeoutError):
                    cause = GapCause.CAMERA_SILENT
                self.abandon(now_ns, cause, detail)
                return
            if count == 0:
                self.abandon(now_ns, GapCause.CAMERA_CLOSED, "the camera closed the connection")
                return
            read += count
            self._client.receive(view, kept + count, now_ns)
            self._after(now_ns)
            if self._client.behind:
                break
            if count < room:
                self._behind_since_ns = None
                break
        self._judge_pace(now_ns)
        if self._udp is not None and not self._done.done():
            read += self._drain_udp(self._udp, view, now_ns)
        if read:
            self.tally.bytes_received += read
            self._note_bytes(now_ns)

    def _judge_pace(self, now_ns: int) -> None:
        """What a camera sends is taken on within bounds per sweep; one that goes on sending more than that is not fetched."""
        since = self._behind_since_ns
        if since is not None and now_ns - since >= BEHIND_NS and not self._done.done():
            detail = "the camera sends more packets, or more nonsense, than can be taken in"
            self._client.give_up(now_ns, GapCause.CAMERA_ERROR, detail)
            self._after(now_ns)

    def _drain_udp(self, udp: UdpSide, view: memoryview, now_ns: int) -> int:
        read = udp.drain(self._client, view, now_ns)
        if self.opened:
            udp.report(self._client, now_ns)
        if read:
            self._after(now_ns)
        return read

    def _note_bytes(self, now_ns: int) -> None:
        watched = self._watched_receiver
        if self._events_only or (watched is not None and watched.last_media_ns == now_ns):
            self.watch.media(now_ns)
        else:
            self.watch.byte(now_ns)

    def tick(self, now_ns: int) -> None:
        """Time-outs, keep-alives, silence."""
        self._client.tick(now_ns)
        if self.opened and not self._done.done() and self._client.state is State.PLAYING:
            self._judge_silence(now_ns)
            self._on_rate(self._rate_cap.alarm(now_ns))
            waited_ns = now_ns - self._opened_ns
            if self._session is None and waited_ns >= FORMAT_WAIT_NS:
                self._open_session(now_ns)
            waits = self.watch.had_media and not self._delivered and not self._events_only
            if waits and waited_ns >= KEY_FRAME_WAIT_NS:
                self._on_remark("media comes, but no key frame with parameter sets yet: nothing of it can be recorded")
        self._after(now_ns)

    def _after(self, now_ns: int) -> None:
        """Sends what the client wants sent and carries its events on."""
        self._now_ns = now_ns
        for event in self._client.events():
            self._handle(event)
        data = self._client.output()
        try:
            if data:
                self._wire.send(data)
            elif not self._done.done():
                self._wire.flush()
        except OSError as error:
            self._client.lost_connection(now_ns, *cause_of(error))  # says nothing when the session is over already
            for event in self._client.events():
                self._handle(event)

    # --- events ------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        if self._done.done():
            return
        if isinstance(event, events.Units):  # what nearly all events are
            self._units(event.units)
            return
        match event:
            case events.Opened(formats, remarks):
                self._played(formats, remarks)
            case events.FormatKnown(track, form):
                self._format(track, form)
            case events.Report(track, report):
                if self._session is not None:
                    self._sink.sender_report(self._session, track, report)
            case events.Loss(track, packets):
                self.tally.lost_packets += packets
                hole = self._holes.setdefault(track, _Hole(self._times.last_ns(track) or self._opened_ns, 0))
                hole.packets += packets
            case events.Restarted(_, detail):
                self._restart(detail)
            case events.Answered(_):
                self.watch.byte(self._now_ns)
            case events.Remark(text):
                self._on_remark(text)
            case events.Redirected(url):
                self._finish(Outcome(GapCause.CONNECTING, "the camera redirects", self.opened, redirect=url))
            case events.Ended(cause, detail, opened, stopped):
                self._finish(Outcome(cause, detail, opened, stopped))

    def _played(self, formats: Sequence[TrackFormat | None], remarks: Sequence[str]) -> None:
        self.opened = True
        self._opened_ns = self._now_ns
        self._formats = list(formats)
        kinds = self._client.kinds
        self._watched = MediaKind.VIDEO if MediaKind.VIDEO in kinds else MediaKind.AUDIO
        self._events_only = set(kinds) == {MediaKind.METADATA}
        least_ns = EVENTS_QUIET_NS if self._events_only else LEAST_QUIET_NS
        self.watch = MediaWatch(self._now_ns, patience_s=self._patience_s, least_ns=least_ns)
        self._wire.unwatch()  # from here on the sweep reads
        self._reset_tracks()
        for text in remarks:
            self._on_remark(text)
        if all(form is not None for form in formats):
            self._open_session(self._now_ns)

    def _reset_tracks(self) -> None:
        receivers = self._client.receivers
        self._kinds = self._client.kinds
        self._rates = [receiver.clock_rate for receiver in receivers]
        watched = self._kinds.index(self._watched) if self._watched in self._kinds else -1
        self._watched_receiver = receivers[watched] if watched >= 0 else None
        self._times = MediaTime(self._rates, watched, self.watch)

    def _open_session(self, now_ns: int) -> None:
        codecs = self._client.codecs
        formats = tuple(
            form if form is not None else TrackFormat(codecs[track], self._rates[track])
            for track, form in enumerate(self._formats)
        )
        self._session = self._next_session(formats, self._opened_ns or now_ns, self._times)
        self._sink.session_opened(self._session)
        held, self._held, self._held_bytes = self._held, [], 0
        if held:
            self._units(held)

    def _format(self, track: int, form: TrackFormat) -> None:
        if track < len(self._formats):
            self._formats[track] = form
        if self._session is not None:
            self._sink.format_changed(self._session, track, form)
        elif self.opened and all(known is not None for known in self._formats):
            self._open_session(self._now_ns)

    def _units(self, units: list[AccessUnit]) -> None:
        if self._session is None:
            self._held_bytes += sum(len(unit.data) for unit in units)
            self._held += units
            if self._held_bytes > HELD_BYTES and self.opened:
                self._open_session(self._now_ns)
            return
        if not self._holes and self._times.follow(units):
            size = 0
            for unit in units:
                size += len(unit.data)
            if self._capped_since_ns is None and self._rate_cap.take_all(size, units[-1].arrival_ns):
                self._deliver(units)
            else:
                self._deliver([unit for unit in units if self._admit(unit)])
            return
        ready: list[AccessUnit] = []
        for unit in units:
            if self._times.jumped(unit):
                self._deliver(ready)
                ready = []
                self._restart("the camera's media time jumped")
                if self._done.done():
                    return
            self._times.note(unit, whole=unit.track not in self._holes)
            if unit.track in self._holes and unit.key:
                self._deliver(ready)
                ready = []
                self._close_hole(unit.track)
            if self._admit(unit):
                ready.append(unit)
        self._deliver(ready)

    def _deliver(self, units: list[AccessUnit]) -> None:
        if units and self._session is not None:
            if self._quiet_from_ns is not None:
                self._end_quiet()
            self.tally.units += len(units)
            if not self._delivered:
                self._delivered = any(self._kinds[unit.track] is self._watched for unit in units)
            self._sink.units(self._session, units)

    # --- media time --------------------------------------------------------------------------------------

    def _restart(self, detail: str) -> None:
        """Media time begins anew within the connection: a session of its own for everyone above."""
        self.tally.restarts += 1
        if self._session is None:
            return
        if self.tally.restarts > MAX_RESTARTS:
            self.abandon(self._now_ns, GapCause.CAMERA_ERROR, f"{detail}, more than {MAX_RESTARTS} times")
            return
        self._on_remark(detail)
        self._end_capped(self._now_ns)
        self._sink.session_closed(self._session, GapCause.CAMERA_ERROR, detail)
        self._opened_ns = self._now_ns
        self._holes.clear()
        self._reset_tracks()
        self._open_session(self._now_ns)

    # --- intervals without usable data -------------------------------------------------------------------

    def _close_hole(self, track: int) -> None:
        hole = self._holes.pop(track)
        if self._session is not None:
            count = f"{hole.packets} packets" if hole.packets else "packets"
            self._sink.interrupted(
                self._session, [track], GapCause.PACKET_LOSS, hole.from_ns, self._now_ns, f"{count} lost"
            )

    def _admit(self, unit: AccessUnit) -> bool:
        """The rate cap: what exceeds it is dropped, and goes on to be dropped up to the next key frame within it."""
        within = self._rate_cap.take(len(unit.data), unit.arrival_ns)
        if self._capped_since_ns is None:
            if within:
                return True
            self._capped_since_ns = unit.arrival_ns
            return False
        if not within or not unit.key or self._kinds[unit.track] is not self._watched:
            return False
        self._end_capped(unit.arrival_ns)
        return True

    def _end_capped(self, now_ns: int) -> None:
        since, self._capped_since_ns = self._capped_since_ns, None
        if since is not None and self._session is not None:
            tracks = range(len(self._formats))
            self._sink.interrupted(
                self._session, tracks, GapCause.RATE_CAP, since, now_ns, "dropped: above the rate cap"
            )

    def _judge_silence(self, now_ns: int) -> None:
        verdict = self.watch.verdict(now_ns)
        if verdict is Verdict.FINE:
            return
        if self._quiet_from_ns is None:
            self._quiet_from_ns = self.watch.last_media_ns
        self._quiet_answered = self.watch.answers
        seconds = (now_ns - self.watch.last_media_ns) / 1e9
        if verdict is Verdict.PROBE:
            self._client.probe(now_ns)
            self._on_probe()
        elif verdict is Verdict.PLAY_AGAIN:
            self._client.play_again(now_ns)
        elif verdict is Verdict.NEW_SESSION:
            self._client.give_up(now_ns, GapCause.NO_MEDIA, f"the camera answers but sent no media for {seconds:.0f} s")
        elif verdict is Verdict.SILENT:
            cause, also = GapCause.CAMERA_SILENT, ""
            if self.unreachable is not None:
                cause, also = self.unreachable, ", and it cannot be reached"
            self.abandon(now_ns, cause, f"nothing from the camera for {seconds:.0f} s{also}")

    def _end_quiet(self) -> None:
        since, self._quiet_from_ns = self._quiet_from_ns, None
        if since is None or self._session is None:
            return
        cause = GapCause.NO_MEDIA if self._quiet_answered else GapCause.CAMERA_SILENT
        tracks = [i for i, kind in enumerate(self._kinds) if kind is self._watched]
        detail = f"no media for {(self._now_ns - since) / 1e9:.1f} s"
        self._sink.interrupted(self._session, tracks, cause, since, self._now_ns, detail)

    # --- the end -----------------------------------------------------------------------------------------

    def _finish(self, outcome: Outcome) -> None:
        if self._done.done():
            return
        if self._session is None and self._held and self.opened:
            self._open_session(self._now_ns)
        self._end_capped(self._now_ns)
        if self._session is not None:
            self._sink.session_closed(self._session, outcome.cause, outcome.detail)
            outcome = replace(outcome, opened=True)
        self._done.set_result(outcome)
