"""`recorderctl recordings` and `recorderctl tracks`."""

from __future__ import annotations

import argparse

import msgspec

from recorderd.ctl.devices import fields
from recorderd.ctl.export import wire_times
from recorderd.ctl.session import Failure, Session
from recorderd.ctl.table import table
from recorderd.model.recording import RecordingConfiguration, TrackConfiguration, TrackType
from recorderd.protocol import recordings

DAY_MS = 86_400_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all recordings").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one recording, in full")
    show.add_argument("recording")
    show.set_defaults(run=run_show)
    create = actions.add_parser(
        "create",
        help="a new recording with a video, an audio and a metadata track",
        epilog="example:\n  recorderctl recordings create --name door --keep-days 30",
    )
    _options(create)
    create.set_defaults(run=run_create)
    change = actions.add_parser("set", help="change a recording")
    change.add_argument("recording")
    _options(change)
    change.set_defaults(run=run_set)
    erase = actions.add_parser("erase", help="delete data of a recording, not the recording")
    erase.add_argument("recording")
    erase.add_argument("--track")
    erase.add_argument("--run", dest="run_number", type=int, metavar="NUMBER", help="only what this run recorded")
    erase.add_argument("--from", dest="start", metavar="TIME", help='first moment, e.g. "yesterday 14:03"')
    erase.add_argument("--to", dest="stop", metavar="TIME", help="last moment")
    erase.add_argument("--yes", action="store_true", help="do not ask")
    erase.set_defaults(run=run_erase)
    remove = actions.add_parser("remove", help="delete a recording with its jobs and all its video")
    remove.add_argument("recording")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(run=run_remove)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name")
    parser.add_argument("--location")
    parser.add_argument("--description")
    parser.add_argument("--content", help="what it shows")
    parser.add_argument(
        "--keep-days", type=float, metavar="DAYS", help="delete what is older; 0: keep as long as there is room"
    )
    parser.add_argument(
        "--at-least-days", type=float, metavar="DAYS", help="recycle younger data only when nothing else is left"
    )
    parser.add_argument("--quota-gib", type=float, metavar="GIB", help="0: no quota")


def _configuration(arguments: argparse.Namespace, old: RecordingConfiguration) -> RecordingConfiguration:
    source = {
        key: value for key in ("name", "location", "description") if (value := getattr(arguments, key)) is not None
    }
    changes: dict[str, object] = {"source": msgspec.structs.replace(old.source, **source)}
    if arguments.content is not None:
        changes["content"] = arguments.content
    for option, name in (("keep_days", "maximum_retention_ms"), ("at_least_days", "minimum_retention_ms")):
        if getattr(arguments, option) is not None:
            changes[name] = round(getattr(arguments, option) * DAY_MS)
    if arguments.quota_gib is not None:
        changes["quota_bytes"] = round(arguments.quota_gib * (1 << 30))
    return msgspec.structs.replace(old, **changes)


def all_recordings(session: Session) -> list[recordings.RecordingInfo]:
    return [
        x
        for reply in session.pages(recordings.LIST, recordings.ListCall(), lambda reply: reply.next)
        for x in reply.recordings
    ]


def token_of(session: Session, wanted: str) -> str:
    """A recording by its token, or by its name where only one has it."""
    found = all_recordings(session)
    if any(r.token == wanted for r in found):
        return wanted
    named = [r.token for r in found if r.configuration.source.name == wanted]
    if len(named) == 1:
        return named[0]
    if named:
        raise Failure(f"several recordings are named {wanted!r}: {', '.join(named)}")
    return wanted


def run_list(_: argparse.Namespace, session: Session) -> int:
    found = all_recordings(session)
    rows = [
        (
            r.token,
            r.configuration.source.name or "-",
            "recording" if r.is_recording else "-",
            f"{r.configuration.maximum_retention_ms / DAY_MS:g} d" if r.configuration.maximum_retention_ms else "-",
            ",".join(f"{t.token}{f'({t.encoding})' if t.encoding else ''}" for t in r.tracks),
        )
        for r in found
    ]
    session.show(
        recordings.ListReply(recordings=found), lambda: table(("RECORDING", "NAME", "NOW", "KEEPS", "TRACKS"), rows)
    )
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(recordings.GET, recordings.RecordingCall(recording=token_of(session, arguments.recording)))
    session.show(reply, lambda: fields(reply.recording))
    return 0


def run_create(arguments: argparse.Namespace, session: Session) -> int:
    call = recordings.CreateCall(configuration=_configuration(arguments, RecordingConfiguration()))
    reply = session.call(recordings.CREATE, call)
    session.show(reply, lambda: fields(reply.recording))
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    token = token_of(session, arguments.recording)
    old = session.call(recordings.GET, recordings.RecordingCall(recording=token)).recording
    call = recordings.ConfigureCall(recording=token, configuration=_configuration(arguments, old.configuration))
    session.show(session.call(recordings.CONFIGURE, call), str)
    return 0


def run_erase(arguments: argparse.Namespace, session: Session) -> int:
    start, stop = wire_times(session, arguments.start, arguments.stop)
    call = recordings.DeleteMediaCall(
        recording=token_of(session, arguments.recording),
        track=arguments.track,
        run=arguments.run_number,
        start=start,
        stop=stop,
    )
    reply = session.call_confirmed(recordings.DELETE_MEDIA, call, yes=arguments.yes)
    session.show(reply, lambda: fields(reply))
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    call = recordings.DeleteCall(recording=token_of(session, arguments.recording))
    session.show(session.call_confirmed(recordings.DELETE, call, yes=arguments.yes), str)
    return 0


def add_track_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    show = actions.add_parser("list", help="the tracks of a recording, and how many more it takes")
    show.add_argument("recording")
    show.set_defaults(run=run_tracks)
    create = actions.add_parser("create", help="a new track", epilog="example:\n  recorderctl tracks create door Video")
    create.add_argument("recording")
    create.add_argument("type", choices=[t.value for t in TrackType])
    create.add_argument("--description", default="")
    create.set_defaults(run=run_create_track)
    change = actions.add_parser("set", help="change a track's description")
    change.add_argument("recording")
    change.add_argument("track")
    change.add_argument("--description", required=True)
    change.set_defaults(run=run_set_track)
    remove = actions.add_parser("remove", help="delete a track with all its data")
    remove.add_argument("recording")
    remove.add_argument("track")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(run=run_remove_track)


def run_tracks(arguments: argparse.Namespace, session: Session) -> int:
    token = token_of(session, arguments.recording)
    reply = session.call(recordings.GET, recordings.RecordingCall(recording=token))
    spare = session.call(recordings.GET_OPTIONS, recordings.RecordingCall(recording=token))
    rows = [
        (t.token, t.configuration.type.value, t.encoding or "-", t.configuration.description)
        for t in reply.recording.tracks
    ]
    session.show(
        reply,
        lambda: (
            table(("TRACK", "TYPE", "HOLDS", "DESCRIPTION"), rows)
            + f"{spare.spare_video} video, {spare.spare_audio} audio and {spare.spare_metadata} metadata tracks can be added\n"
        ),
    )
    return 0


def run_create_track(arguments: argparse.Namespace, session: Session) -> int:
    call = recordings.CreateTrackCall(
        recording=token_of(session, arguments.recording),
        configuration=TrackConfiguration(type=TrackType(arguments.type), description=arguments.description),
    )
    reply = session.call(recordings.CREATE_TRACK, call)
    session.show(reply, lambda: fields(reply.track))
    return 0


def run_set_track(arguments: argparse.Namespace, session: Session) -> int:
    token = token_of(session, arguments.recording)
    held = session.call(recordings.GET, recordings.RecordingCall(recording=token)).recording
    kind = next((t.configuration.type for t in held.tracks if t.token == arguments.track), TrackType.VIDEO)
    call = recordings.ConfigureTrackCall(
        recording=token,
        track=arguments.track,
        configuration=TrackConfiguration(type=kind, description=arguments.description),
    )
    session.show(session.call(recordings.CONFIGURE_TRACK, call), str)
    return 0


def run_remove_track(arguments: argparse.Namespace, session: Session) -> int:
    call = recordings.DeleteTrackCall(recording=token_of(session, arguments.recording), track=arguments.track)
    session.show(session.call_confirmed(recordings.DELETE_TRACK, call, yes=arguments.yes), str)
    return 0
