"""A port that workers share is theirs: another command is told so, whether it would share it or not."""

import pytest
from support.sharing import own_addresses, shared_address, workers
from support.snowbus import Process

from snowbus.cli import exit_codes


@pytest.mark.parametrize("others", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("role", ["ingest", "gateway"])
def test_an_address_in_use_is_said_to_be(tmp_path, sqlite_url, role, others):
    with workers(role, tmp_path, sqlite_url) as process:
        own_addresses(process, role)
        shared = shared_address(process, role)
        with Process(role, "--log", sqlite_url, "--listen", shared, *others, cwd=tmp_path) as other:
            assert other.wait() == exit_codes.CONFIGURATION
            assert any("cannot listen on" in line for line in other.diagnostics)
        assert process.stop() == exit_codes.OK
