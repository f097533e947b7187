"""`recorderctl jobs`: what is recorded when, into which recording."""

from __future__ import annotations

import argparse

from recorderd.ctl.devices import fields, seconds, warned
from recorderd.ctl.recordings import token_of
from recorderd.ctl.session import Session
from recorderd.ctl.table import table
from recorderd.model.job import EventCondition, EventFilter, JobConfiguration, JobRequest, JobTrack, SourceRequest
from recorderd.protocol import jobs

EXAMPLES = """examples:
  recorderctl jobs create door --receiver receiver-1
  recorderctl jobs create door --receiver receiver-1 --schedule office --priority 5
  recorderctl jobs create door --receiver receiver-1 --on 'tns1:RuleEngine//.' --where device=door --before 5 --after 10"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="all jobs and what they do now").set_defaults(run=run_list)
    show = actions.add_parser("show", help="one job with the states of its tracks")
    show.add_argument("job")
    show.set_defaults(run=run_show)
    create = actions.add_parser("create", help="a new job, active at once unless --idle", epilog=EXAMPLES)
    create.add_argument("recording")
    _options(create)
    create.add_argument("--idle", action="store_true")
    create.set_defaults(run=run_create)
    change = actions.add_parser("set", help="change a job")
    change.add_argument("job")
    _options(change)
    change.set_defaults(run=run_set)
    for word, text, mode in (("start", "make a job active", "Active"), ("stop", "make a job idle", "Idle")):
        action = actions.add_parser(word, help=text)
        action.add_argument("job")
        action.set_defaults(run=run_mode, mode=mode)
    remove = actions.add_parser("remove", help="delete a job; what it recorded stays")
    remove.add_argument("job")
    remove.set_defaults(run=run_remove)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--receiver", action="append", metavar="RECEIVER[:TRACK,...]", help="a source; several are possible"
    )
    parser.add_argument("--priority", type=int)
    parser.add_argument("--schedule", metavar="TOKEN", help="records only while it is active; empty for none")
    parser.add_argument("--on", action="append", metavar="TOPIC", help="records only while such an event is true")
    parser.add_argument("--where", metavar="ITEM=VALUE,...", default="", help="of the event's source")
    parser.add_argument("--before", type=seconds, default=0, metavar="SECONDS")
    parser.add_argument("--after", type=seconds, default=0, metavar="SECONDS")
    parser.add_argument("--always", action="store_true", help="forget the event filter")


def _request(arguments: argparse.Namespace, recording: str, mode: str, old: JobConfiguration | None) -> JobRequest:
    sources: tuple[SourceRequest, ...] = ()
    event_filter: EventFilter | None = None
    if old is not None:
        sources = tuple(SourceRequest(token=s.token, type=s.type, tracks=s.tracks) for s in old.sources)
        event_filter = None if arguments.always else old.event_filter
    if arguments.receiver:
        sources = tuple(_source(text) for text in arguments.receiver)
    elif not sources:
        sources = (SourceRequest(auto_create_receiver=True),)
    if arguments.on:
        conditions = tuple(EventCondition(topic=topic, source=arguments.where) for topic in arguments.on)
        event_filter = EventFilter(conditions=conditions, before_ms=arguments.before, after_ms=arguments.after)
    priority, schedule = (old.priority, old.schedule) if old is not None else (0, "")
    return JobRequest(
        recording=recording,
        mode=mode,
        priority=arguments.priority if arguments.priority is not None else priority,
        schedule=arguments.schedule if arguments.schedule is not None else schedule,
        event_filter=event_filter,
        sources=sources,
    )


def _source(text: str) -> SourceRequest:
    token, _, tracks = text.partition(":")
    return SourceRequest(token=token, tracks=tuple(JobTrack(destination=t) for t in tracks.split(",") if t))


def run_list(_: argparse.Namespace, session: Session) -> int:
    found = [x for reply in session.pages(jobs.LIST, jobs.ListCall(), lambda reply: reply.next) for x in reply.jobs]
    rows = []
    for job in found:
        state = session.call(jobs.GET_STATE, jobs.JobCall(job=job.token)).state
        errors = {t.error for s in state.sources for t in s.tracks if t.error}
        c = job.configuration
        when = (
            " ".join(filter(None, (c.schedule and f"schedule {c.schedule}", "events" if c.event_filter else "")))
            or "always"
        )
        rows.append(
            (job.token, c.recording, c.mode.value, c.priority, when, state.state.value, "; ".join(sorted(errors)))
        )
    session.show(
        jobs.ListReply(jobs=found),
        lambda: table(("JOB", "RECORDING", "MODE", "PRIO", "WHEN", "STATE", "WHY"), rows, right="   r"),
    )
    return 0


def run_show(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(jobs.GET, jobs.JobCall(job=arguments.job))
    state = session.call(jobs.GET_STATE, jobs.JobCall(job=arguments.job)).state
    rows = [
        (s.token, t.destination, t.source_tag or "-", t.state.value, t.error) for s in state.sources for t in s.tracks
    ]
    session.show(
        reply,
        lambda: fields(reply.job) + "\n\n" + table(("SOURCE", "TRACK", "TAG", "STATE", "WHY"), rows),
    )
    return 0


def run_create(arguments: argparse.Namespace, session: Session) -> int:
    mode = "Idle" if arguments.idle else "Active"
    request = _request(arguments, token_of(session, arguments.recording), mode, None)
    reply = session.call(jobs.CREATE, jobs.CreateCall(configuration=request))
    session.show(reply, lambda: fields(reply.job) + warned(reply.warnings))
    return 0


def run_set(arguments: argparse.Namespace, session: Session) -> int:
    old = session.call(jobs.GET, jobs.JobCall(job=arguments.job)).job.configuration
    request = _request(arguments, old.recording, old.mode.value, old)
    reply = session.call(jobs.CONFIGURE, jobs.ConfigureCall(job=arguments.job, configuration=request))
    session.show(reply, lambda: fields(reply.job) + warned(reply.warnings))
    return 0


def run_mode(arguments: argparse.Namespace, session: Session) -> int:
    reply = session.call(jobs.SET_MODE, jobs.ModeCall(job=arguments.job, mode=arguments.mode))
    session.show(reply, lambda: warned(reply.warnings).lstrip())
    return 0


def run_remove(arguments: argparse.Namespace, session: Session) -> int:
    session.show(session.call(jobs.DELETE, jobs.JobCall(job=arguments.job)), str)
    return 0
