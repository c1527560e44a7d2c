"""Which schedule of a policy applies at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from pilotfish.api.autoscalingpolicy import Schedule
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault


@dataclass(frozen=True)
class ActiveSchedule:
    """The schedule that applies, None where none does, and the seconds until another one may."""

    schedule: Schedule | None
    seconds_to_change: float


def active_schedule(schedules: Sequence[Schedule], at: datetime) -> ActiveSchedule | None:
    """The first schedule that applies at a time, which has a time zone. None for a policy without valid schedules.

    A schedule applies from each time that its cron expression matches, in its own time zone, for its duration. Times
    that a change to summer time skips are moved to the end of the gap, and times that exist twice match once.
    """
    valid = [schedule for schedule in schedules if not any(_faults(schedule))]
    if not valid:
        return None
    changes, active = [], None
    for schedule in valid:
        began, begins = _around(schedule, at)
        changes.append(begins)
        if began is not None:
            changes.append(began + timedelta(seconds=schedule.duration_seconds))
            active = active or schedule
    return ActiveSchedule(active, (min(changes) - at).total_seconds())


def check_schedules(schedules: Sequence[Schedule]) -> Iterator[Fault]:
    """Cron expressions and time zones that a schema cannot check."""
    for index, schedule in enumerate(schedules):
        for name, message in _faults(schedule):
            yield Fault(("spec", "schedules", index, name), message, Reason.INVALID_SPEC)


def _around(schedule: Schedule, at: datetime) -> tuple[datetime | None, datetime]:
    """The last start whose duration contains the time, if there is one, and the next start."""
    local = at.astimezone(ZoneInfo(schedule.time_zone))
    began = None
    for start in CronSim(schedule.cron, local - timedelta(seconds=schedule.duration_seconds)):
        if start > local:
            return began, start.astimezone(UTC)
        began = start.astimezone(UTC)
    raise AssertionError("cron expressions match without end")


def _faults(schedule: Schedule) -> Iterator[tuple[str, str]]:
    try:
        ZoneInfo(schedule.time_zone)
    except (KeyError, ValueError, OSError):  # as ZoneInfo raises for names that do not exist, and for odd ones
        yield "timeZone", f"{schedule.time_zone!r} is not a time zone: use a name such as Europe/Berlin"
    try:
        next(CronSim(schedule.cron, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        yield "cron", f"{schedule.cron!r} matches no time: {error or 'correct it'}"
