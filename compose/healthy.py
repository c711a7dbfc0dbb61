#!/opt/snowbus/bin/python
"""Whether the role at an address is ready, as a container's health check asks it: `healthy http://127.0.0.1:8080`."""

import sys
import urllib.error
import urllib.request

try:
    with urllib.request.urlopen(f"{sys.argv[1]}/ready", timeout=4) as answer:  # noqa: S310 - our own role
        print(answer.read().decode().strip())
except urllib.error.HTTPError as error:
    sys.exit(error.read().decode().strip())
except OSError as error:
    sys.exit(str(error))
