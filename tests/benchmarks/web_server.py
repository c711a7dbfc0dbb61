"""Serves the app of tests/support for a framework, whose events go where it is told, until stdin ends."""

import sys

from snowplow_tracker import Emitter
from support.django_app import django_app
from support.web import Recorder, asgi_server, wsgi_server
from support.web_apps import Gate, fastapi_app, flask_app

from snowbus.bus.log import LogOptions
from snowbus.producers.emitters import BusEmitter
from snowbus.producers.web import Tracking

APPS = {
    "flask": lambda tracking: wsgi_server(flask_app(tracking, Gate())),
    "fastapi": lambda tracking: asgi_server(fastapi_app(tracking, Gate()), loop="uvloop"),
    "django": lambda tracking: wsgi_server(django_app(tracking, Gate(), asgi=False)),
}
EMITTERS = {
    "memory": lambda _: Recorder(),
    "collector": lambda url: Emitter(url, batch_size=1),
    "log": lambda url: BusEmitter(url, options=LogOptions(append_timeout=0.5)),
}

if __name__ == "__main__":
    framework, emitter, url = sys.argv[1:]
    with APPS[framework](Tracking([EMITTERS[emitter](url)], namespace="web")) as address:
        print(address[1], flush=True)
        sys.stdin.read()
