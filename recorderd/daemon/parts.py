"""The parts of the recorder and how they are wired: each is built here, once, from the settings."""

from __future__ import annotations

import logging
import os
import uuid
import zoneinfo
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hw.boards.assembly import assemble
from hw.boards.board import Board
from hw.boards.loader import BadBoard
from hw.boards.loader import load as load_board
from recorderd.control.cameras import Cameras
from recorderd.control.configuration import ConfigurationFace
from recorderd.control.dispatch import Dispatch, Face
from recorderd.control.explain import Chain
from recorderd.control.exports import ExportsFace
from recorderd.control.media import MediaFace
from recorderd.control.names import RecordingNames
from recorderd.control.network import NetworkFace
from recorderd.control.recording_faces import recording_faces
from recorderd.control.storage import StorageFace
from recorderd.control.system import SystemFace
from recorderd.control.time import TimeFace
from recorderd.control.timeline import TimelineFace
from recorderd.daemon.heap import HeapKeeper, this_heap
from recorderd.daemon.measuring import Measuring
from recorderd.daemon.power_parts import build_power_parts
from recorderd.daemon.watchdog import LoopProbe, Service, Vital
from recorderd.events.broker import Broker
from recorderd.events.cameras import CameraEvents
from recorderd.events.disk import DiskEvents
from recorderd.events.history import History
from recorderd.events.listening.listeners import Listeners
from recorderd.events.log import EventLog
from recorderd.events.reader import Reader
from recorderd.ingest.service import Ingest
from recorderd.model.clock import SystemClock
from recorderd.model.limits import Limits
from recorderd.model.media_ram import MediaRam
from recorderd.model.objects import Objects
from recorderd.model.rates import rates
from recorderd.network.parts import network_parts
from recorderd.power.memory import FileMemory, Keeper
from recorderd.power.service import PowerService
from recorderd.recording.deliver_to import Surroundings as Around
from recorderd.recording.exports import Exports
from recorderd.recording.service import RecordingService
from recorderd.recording.target_exports import TargetExports
from recorderd.ring.archive import Archive
from recorderd.ring.beside import HistoryFiles
from recorderd.ring.disk_memory import FileDiskMemory
from recorderd.ring.disks.helper_client import HelperClient
from recorderd.ring.disks.service import StorageService
from recorderd.ring.ledger.ledger import RingLedger
from recorderd.ring.playback import key_instants
from recorderd.ring.profiles import PROFILES
from recorderd.ring.ring import Ring, RingState
from recorderd.settings import Durability, Settings, SettingsError
from recorderd.state import measured
from recorderd.state.mirroring import Mirroring, objects_of, read_in_time
from recorderd.state.store import StateBroken, StateError, Store

TICK_NS = 1_000_000_000
_PLANNED_WRITERS = 16  # for which `disks format` makes room
log = logging.getLogger(__name__)

_DURABILITY = {Durability.FLUSH: "direct", Durability.NONE: "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    clock: SystemClock
    state: Store
    ring: Ring
    broker: Broker
    event_log: EventLog
    ingest: Ingest
    recordings: RecordingService
    beside: tuple[Service, ...]
    vitals: tuple[Vital, ...]
    system: SystemFace
    dispatch: Dispatch


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the settings refer to: looked up before anything is opened, so that a mistake is found while nothing has happened."""

    zone: zoneinfo.ZoneInfo
    board: Board | None


def look_up(settings: Settings) -> Surroundings:
    """Raises `SettingsError` for a zone or board that is not known."""
    board = None
    if settings.recorder.board != "none":
        try:
            board = load_board(settings.recorder.board)
        except BadBoard as error:
            raise SettingsError(str(error)) from error
    return Surroundings(local_zone(settings), board)


def build(settings: Settings, surroundings: Surroundings) -> Parts:
    """Opens the state file; starts nothing. Raises `SettingsError` for what the operator must mend."""
    clock = SystemClock()
    boot = boot_id()
    state = _open_state(settings)
    ledger = RingLedger(clock=clock)
    ring = Ring.at(
        Path(settings.disk.path),
        ledger=ledger,
        clock=clock,
        boot_id=boot,
        durability=_DURABILITY[settings.disk.durability],
        queue_bytes=settings.media_ram_bytes() // 2,
        memory=FileDiskMemory(Path(settings.paths.state) / "disks.json"),
    )
    history = History()
    event_log = EventLog(disk=HistoryFiles(ring), history=history, clock=clock)
    event_log.load(Path(settings.disk.path))
    broker = Broker(clock=clock, history=history)
    media_ram = MediaRam(settings.media_ram_bytes())
    probe = LoopProbe()
    ingest = Ingest(
        clock=clock,
        media_ram=media_ram,
        sweep_s=settings.ingest.sweep_ms / 1000,
        events=broker,
        on_late=probe.note,
    )
    board_ports = surroundings.board.port if surroundings.board is not None else ()
    network = network_parts(
        settings=settings.network,
        zone=settings.time.zone,
        state_folder=Path(settings.paths.state),
        run_folder=Path(settings.paths.socket).parent,
        labels={port.netdev: port.label for port in board_ports if port.netdev},
        events=broker,
        clock=clock,
        observer=ingest,
    )
    clock.trusted_by(network.keeper.trust)
    reader = Reader(clock=clock)
    camera_events = CameraEvents(broker=broker, reader=reader)
    listeners = Listeners(events=camera_events, clock=clock)
    measured_file = Path(settings.paths.state) / "measured.json"
    measured_rates = rates(
        measured.load(measured_file).newest(), settings.media_ram_bytes(), settings.limits.stream_kbit_s
    )
    measuring = Measuring(
        ring=ring, path=measured_file, clock=clock, durable=settings.disk.durability is Durability.FLUSH
    )

    def zone() -> zoneinfo.ZoneInfo:
        """The recorder's now: schedules of jobs and of ports follow it."""
        return zone_named(network.keeper.zone) or surroundings.zone

    recordings = RecordingService(
        state=state,
        store=ring,
        archive=Archive(ring=ring, ledger=ledger),
        source=ingest,
        broker=broker,
        clock=clock,
        camera_events=camera_events,
        event_streams=listeners,
        limits=Limits(
            recordings=settings.limits.recordings,
            jobs=settings.limits.jobs,
            max_rate_kbps=measured_rates.recording_kbps,
            max_total_rate_kbps=measured_rates.total_kbps,
        ),
        time_zone=lambda: zone().key,
        tick_ns=TICK_NS,
        media_ram_bytes=settings.media_ram_bytes(),
    )
    mirroring = Mirroring(
        ring=Path(settings.disk.path),
        objects=recordings.objects,
        secrets=state.secret_names,
        clock=clock,
        usable=lambda: not state.frozen and ring.status().state is RingState.HEALTHY,
    )
    recordings.on_change.append(mirroring.changed)
    power = None
    keeper = Keeper(FileMemory(Path(settings.paths.state) / "power.json"))
    if surroundings.board is not None:
        power = PowerService(
            assembly=assemble(surroundings.board),
            clock=clock,
            events=broker,
            keeper=keeper,
            commit_now=ring.commit_soon,
            zone=zone,
        )
    storage = StorageService(
        ring=ring,
        ledger=ledger,
        helper=HelperClient(path=settings.paths.helper),
        clock=clock,
        folder=Path(settings.disk.path),
        durability=_DURABILITY[settings.disk.durability],
        writers=_PLANNED_WRITERS,
        profile=PROFILES.get(settings.disk.medium.value),
    )
    if power is not None:
        network.service.on_power_request.append(power.set_lldp)
    cameras = Cameras(
        objects=recordings.objects,
        engine=recordings.engine,
        ingest=ingest,
        queries=ledger.queries,
        clock=clock,
        tick_ns=TICK_NS,
    )
    power_parts = build_power_parts(
        settings=settings,
        board=surroundings.board,
        power=power,
        keeper=keeper,
        health=ingest,
        objects=recordings.objects,
        cameras=cameras,
        clock=clock,
        events=broker,
        boot_id=boot,
        locator=network.service,
    )
    system = SystemFace(
        settings=settings,
        cameras=cameras,
        chain=Chain(cameras, ring, power),
        ring=ring,
        ledger=ledger,
        power=power,
        board=power_parts.health,
        clock=clock,
        zone=zone,
        media_ram=media_ram,
        bytes_per_day=storage.bytes_per_day,
        started_ns=clock.boottime_ns(),
        loop_health=probe.health,
        frozen=lambda: state.frozen,
        configuration_troubles=mirroring.troubles,
    )
    names = RecordingNames(objects=recordings.objects, queries=ledger.queries)
    exports = Exports(ring=ring, clock=clock)
    target_exports = TargetExports(
        ring=ring,
        exports=exports,
        operations=recordings.operations,
        around=Around(
            folder=settings.exports.folder,
            own_file_system=settings.exports.own_file_system,
            ca_file=settings.exports.ca_file,
            secret=state.secret,
        ),
        clock=clock,
        limits=recordings.limits,
        file_ns=settings.exports.file_minutes * 60_000_000_000,
    )
    faces: list[Face] = [
        system,
        power_parts.face,
        TimelineFace(ledger=ledger, key_frames=partial(key_instants, ring), find_recording=names.find),
        StorageFace(service=storage),
        MediaFace(exports=exports, names=names, queries=ledger.queries),
        ExportsFace(exports=target_exports, service=recordings, names=names, queries=ledger.queries),
        NetworkFace(service=network.service, helper=settings.paths.helper),
        TimeFace(keeper=network.keeper),
        ConfigurationFace(service=recordings, mirroring=mirroring, frozen=lambda: state.frozen),
        *recording_faces(service=recordings, broker=broker, clock=clock),
    ]
    dispatch = Dispatch()
    for face in faces:
        face.bind(dispatch)
    return Parts(
        clock=clock,
        state=state,
        ring=ring,
        broker=broker,
        event_log=event_log,
        ingest=ingest,
        recordings=recordings,
        beside=(
            Service("event history", event_log.run),
            Service("camera events", reader.run),
            Service("event streams", listeners.run),
            Service("disk events", DiskEvents(look=ring.health, events=broker, clock=clock).run),
            Service("storage", storage.run),
            Service("configuration mirror", mirroring.run),
            Service("measuring", measuring.run),
            Service("heap", HeapKeeper(this_heap(), clock).run),
            Service("network", network.service.run),
            Service("time", network.keeper.run),
            *power_parts.services(),
        ),
        vitals=(ring,) if power is None else (ring, power),
        system=system,
        dispatch=dispatch,
    )


def _open_state(settings: Settings) -> Store:
    """The state file; where it or its medium is damaged, the configuration mirrored on the data disk, which cannot be changed."""
    folder = Path(settings.paths.state)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = Store.open(folder / "state.sqlite")
        try:
            state.load()
        except StateError:
            state.close()
            raise
        return state
    except StateBroken as broken:
        return _without_state(broken, Path(settings.disk.path))
    except (OSError, StateError) as error:
        raise SettingsError(f"the state in {folder} cannot be used: {error}") from error


def _without_state(broken: StateBroken, disk: Path) -> Store:
    """Alive with what is left, and saying so: an end would not mend the flash."""
    held = read_in_time(disk)
    try:
        objects = objects_of(held) if held is not None else Objects()
    except StateError as error:
        log.error("%s", error)
        objects, held = Objects(), None
    whence = "from its copy on the data disk, without passwords" if held is not None else "empty"
    log.error("%s; the configuration is %s", broken, whence)
    return Store.substitute(objects, f"{broken}; it is {whence}")


def boot_id() -> uuid.UUID:
    return uuid.UUID(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())


def zone_named(name: str) -> zoneinfo.ZoneInfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return None


def local_zone(settings: Settings) -> zoneinfo.ZoneInfo:
    """The recorder's zone: as set, else the system's, else UTC. Raises `SettingsError` for a zone that is not known."""
    if settings.time.zone is not None:
        zone = zone_named(settings.time.zone)
        if zone is None:
            raise SettingsError(f"time.zone = {settings.time.zone!r}: not a known time zone")
        return zone
    return zone_named(os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2] or "UTC") or zoneinfo.ZoneInfo(
        "UTC"
    )
