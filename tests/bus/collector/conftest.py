"""An authority for certificates, and one that is good for this machine."""

import pytest
from support.certificates import Authority, Certificate


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def good(authority: Authority) -> Certificate:
    return authority.issue("good", "DNS:localhost", "IP:127.0.0.1")
