"""The header that says who we are by a user name and a password (RFC 7617)."""

from base64 import b64encode

from .errors import ConfigurationError


def basic_authorization(setting: str, username: str, password: str) -> str:
    """The value of `Authorization`, '' for nobody. Raises ConfigurationError, which names the setting."""
    if ":" in username:
        raise ConfigurationError(f"{setting}: basic authentication allows no colon in a user name")
    if not username and not password:
        return ""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()
