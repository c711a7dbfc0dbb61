"""What a commit says beside the offset fits there, whatever went wrong, and is safe to show."""

from hypothesis import example, given
from hypothesis import strategies as st

from snowbus.bus.log.interface import METADATA_LIMIT, Committed
from snowbus.consumers.offsets import Position
from snowbus.consumers.progress import Progress, read_position, read_progress, write_metadata

NOW = 1_700_000_000_000


def there_and_back(progress):
    return read_progress(Committed(7, write_metadata(Position(7), progress)))


def test_who_leaves_says_so_and_when():
    assert there_and_back(Progress(at=NOW, left=True, waiting=1)) == Progress(at=NOW, left=True, waiting=1)


def test_a_call_that_is_stuck_is_told_with_its_beginning():
    assert there_and_back(Progress(at=NOW, stuck_since=NOW - 5)).stuck_since == NOW - 5


def test_who_does_not_work_on_a_partition_says_nothing():
    assert write_metadata(Position(7), None) == ""
    assert there_and_back(None) is None


@given(st.text(max_size=400))
@example("\x00" * 400)
@example("\ud800" * 400)
@example("\N{PILE OF POO}" * 400)
def test_any_error_is_one_line_that_no_terminal_obeys_and_fits_beside_as_many_ranges_as_fit(error):
    position = Position(7, tuple((offset, offset + 1) for offset in range(9, 100_000, 11)))
    times = {"at": NOW, "next_try": NOW, "stuck_since": NOW}
    metadata = write_metadata(position, Progress(**times, in_flight=10**6, waiting=10**6, last_error=error))
    assert len(metadata.encode()) <= METADATA_LIMIT
    committed = Committed(7, metadata)
    assert read_position(committed).done
    told = read_progress(committed).last_error
    assert told.isprintable()
    assert len(told) <= 160


def test_what_others_have_written_there_is_not_believed():
    for metadata in ('{"at":-1}', '{"at":"x"}', '{"at":1e400}', f'{{"at":{10**30}}}', "[]", '{"left":true}'):
        assert read_progress(Committed(7, metadata)) is None
    found = read_progress(Committed(7, '{"at":5,"in_flight":-1,"waiting":"x","next_try":[],"left":1,"last_error":4}'))
    assert found == Progress(at=5)
