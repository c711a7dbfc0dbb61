"""`snowbus replay`: a group handles exactly what it is told to once more."""

import pytest
from click.testing import CliRunner
from support.aio import run, soon
from support.consuming import consume, write_consumer
from support.snowbus import snowbus

from snowbus.bus.event import EVENTS_TOPIC
from snowbus.bus.log import open_log
from snowbus.cli import exit_codes
from snowbus.cli.replay import command
from snowbus.consumers.testing import event

pytestmark = pytest.mark.real_kafka  # the mock cluster has no groups

HANDLED = 'print("handled", record.event_id, record.partition, record.offset, flush=True)'


def handled(process):
    """The events that a consumer has handled, by their partition and offset."""
    lines = [line.split() for line in process.output if line.startswith("handled ")]
    return [(int(partition), int(offset)) for _, _, partition, offset in lines]


def put_events(url, count, *, apps=("shop", "blog")):
    """Append events of several users; returns how many stand in each partition."""

    async def main():
        async with await open_log(url) as log:
            await log.create_topics([EVENTS_TOPIC])
            records = [
                event(event_id=str(number), user_id=f"user-{number % 11}", app_id=apps[number % len(apps)])
                for number in range(count)
            ]
            await log.append(EVENTS_TOPIC, records)
            return {partition.partition: end for partition, end in (await log.end_offsets(EVENTS_TOPIC)).items()}

    return run(main())


def replay(folder, url, *arguments):
    return snowbus("replay", "--group", "stock", *arguments, "--log", url, cwd=folder)


def consumed(folder, url, count):
    """Let the consumer handle so many events and stop; returns what it handled."""
    with consume(folder, url, "stock") as process:
        soon(lambda: len(handled(process)) >= count)
        assert process.stop() == exit_codes.OK
        return handled(process)


def test_a_stopped_group_handles_exactly_the_range_again(tmp_path, log_url):
    ends = put_events(log_url, 200)
    write_consumer(tmp_path, HANDLED)
    assert len(consumed(tmp_path, log_url, 200)) == 200
    busy = max(ends, key=ends.__getitem__)
    wanted = [(busy, offset) for offset in range(3, 9)]
    arguments = ("--from", f"{busy}:3", "--to", f"{busy}:9")
    assert "stock would handle 6 records again." in replay(tmp_path, log_url, *arguments, "--dry-run").stdout
    answer = replay(tmp_path, log_url, *arguments)
    assert (answer.stdout.splitlines()[-1], answer.stderr) == ("stock handles 6 records again.", "")
    put_events(log_url, 20)
    again = consumed(tmp_path, log_url, 26)
    assert sorted(place for place in again if place[1] < ends[place[0]]) == wanted
    assert len(again) == 26


def test_a_filtered_replay_works_while_the_group_runs_and_its_own_filter_holds(tmp_path, log_url):
    put_events(log_url, 60, apps=("shop", "blog", "other"))
    write_consumer(tmp_path, HANDLED, options=', app_id=["shop", "blog"]')
    with consume(tmp_path, log_url, "stock") as process:
        soon(lambda: len(handled(process)) == 40)
        before = handled(process)
        refused = soon(lambda: committed(replay(tmp_path, log_url, "--from", "earliest")))
        assert refused.returncode == exit_codes.FAILED
        assert "group 'stock' has members; stop them" in refused.stderr
        assert "or give a filter, which works while they run" in refused.stderr
        answer = soon(
            lambda: whole(replay(tmp_path, log_url, "--from", "1h", "app_id=shop", "app_id=other", "--dry-run"))
        )
        assert answer.stdout == "40 to be copied to snowbus.retry\n"
        answer = replay(tmp_path, log_url, "--from", "1h", "app_id=shop", "app_id=other")
        assert (answer.stdout, answer.stderr) == ("40 copied to snowbus.retry\n", "")
        soon(lambda: len(handled(process)) == 60)
        assert process.stop() == exit_codes.OK
        again = handled(process)[40:]
    assert len(set(again)) == len(again) == 20
    assert set(again) <= set(before)


def committed(answer):
    """The answer, once the group has committed something."""
    return answer if "has handled nothing" not in answer.stdout else None


def whole(answer):
    """The answer, once the group has committed all that it has handled."""
    return answer if "still to be handled" not in answer.stdout else None


def test_a_group_that_never_committed_is_a_sentence_with_those_that_did(tmp_path, sqlite_url):
    put_events(sqlite_url, 1)
    answer = replay(tmp_path, sqlite_url, "--from", "earliest")
    assert answer.returncode == exit_codes.FAILED
    assert answer.stderr == "snowbus: group 'stock' has committed nothing on this log; there are no groups yet\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from", "earliest"],
        ["--group", "stock"],
        ["--group", "stock", "--from", "yesterday"],
        ["--group", "stock", "--from", "0:1,0:2"],
        ["--group", "stock", "--from", "earliest", "--to", "tomorrow"],
        ["--group", "stock", "--from", "0:10", "--to", "0:5"],
        ["--group", "stock", "--from", "1h", "--to", "2h"],
        ["--group", "stock", "--from", "earliest", "colour=red"],
    ],
)
def test_what_cannot_be_understood_is_a_usage_error(arguments):
    answer = CliRunner().invoke(command, arguments)
    assert answer.exit_code == exit_codes.USAGE
    assert "Error" in answer.output
