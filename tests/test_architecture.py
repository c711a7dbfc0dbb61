"""The rules of the house: who imports whom, and which drivers stand in which file."""

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_imports_run_one_way(capsys):
    """cli → producers → bus ← consumers ← cli; aiokafka and sqlite3 stand in one file each."""
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS, capsys.readouterr().out
