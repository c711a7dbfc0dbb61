"""Follows a document as a reader does: runs its blocks from the first to the last, in one folder.

What a command exports, and where it changes to, holds for those after it, as in a terminal. A command that serves goes
on until the next heading that is no deeper than its own, as in a terminal of its own, and so does a web server that is
told its port; so that nothing collides, it really listens on a free port, and what comes later finds it there. A Python
block is run, or written down when its first line is a file's name; a block of JavaScript is run where there is a Node,
with the package `ws` for the WebSocket that newer ones have. A `text` block is what the commands of its heading have
printed, line by line, with `…` for whatever stands there.
"""

import re
import signal
import subprocess
import sys
from pathlib import Path

from support.aio import soon
from support.documents import JAVASCRIPT, OUTPUT, PYTHON, SHELL, Block, Section
from support.node import node_command
from support.snowbus import COMMAND, Process, environment

from snowbus.bus.settings import ROLES, Settings
from snowbus.cli import exit_codes

_SERVES = re.compile(rf"(?:\w+=\S+ )*snowbus ({'|'.join(ROLES)}|up|tail)\b(?!.*(--count|--no-follow|--help))")
_WEB_SERVES = re.compile(r"(?:\w+=\S+ )*(?:uvicorn|gunicorn) .*?(?:--port |--bind 127\.0\.0\.1:)(\d+)")
_ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):(\d+)")
_LISTEN = re.compile(r"(--(?:\w+-)?listen[ =]\S+:)\d+")
_COLLECTOR = "https://collector.example"
_WEBSOCKET = 'globalThis.WebSocket ??= require("ws");'
_SECONDS = 60.0


class Walkthrough:
    """One document and its folder. `collector` is the URL of what stands for https://collector.example."""

    def __init__(self, sections: list[Section], folder: Path, *, collector: str) -> None:
        self._left = list(sections)
        self._failed = ""
        self._collector = collector
        self._variables = {
            **{name: value for name, value in environment().items() if not name.startswith("PYTEST")},
            **{f"SNOWBUS_{role.upper()}_LISTEN": "127.0.0.1:0" for role in ROLES},
            "PATH": f"{COMMAND.parent}:{environment()['PATH']}",
            "PWD": str(folder),
            "PYTHONUNBUFFERED": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those of our tests are not the reader's
            "PYTEST_PLUGINS": "snowbus.cli.pytest_plugin",  # this one is
        }
        self._running: list[Process] = []
        self._listening: dict[int, str] = {}
        self._level = 0
        self._printed: list[str] = []
        self._state = folder.parent / "variables"

    def follow(self, section: Section) -> None:
        """Run the blocks of a section, and of those before it that have not been run."""
        assert not self._failed, f"{self._failed} failed, and this comes after it"
        while section in self._left:
            current = self._left.pop(0)
            try:
                self._follow(current)
            except BaseException:
                self._failed = str(current)
                raise

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            process.__exit__()

    @property
    def _folder(self) -> Path:
        return Path(self._variables["PWD"])

    def _follow(self, section: Section) -> None:
        self._printed = []
        if not self._running:
            self._level = section.level
        for block in section.blocks:
            if block.note != "not run":
                self._run(block)
        if not self._left or self._left[0].level <= self._level:
            self._stop()

    def _stop(self) -> None:
        """End what has been started, as with Ctrl-C."""
        for process in self._running:
            assert process.stop() in (exit_codes.OK, -signal.SIGTERM), _said(process)
            process.__exit__()
        self._running.clear()
        self._listening.clear()

    def _run(self, block: Block) -> None:
        try:
            if block.language in SHELL:
                for command in _commands(block.text):
                    self._command(command)
            elif block.file_name:
                path = self._folder / block.file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, "utf-8")
            elif block.language in PYTHON:
                self._program(block, "py", block.text, sys.executable)
            elif block.language in JAVASCRIPT:
                if node := node_command():
                    self._variables["NODE_PATH"] = str(node.packages)
                    self._program(block, "cjs", f"{_WEBSOCKET}\n{block.text}", str(node.program))
            elif block.language == OUTPUT:
                self._expect(block.text)
        except BaseException as error:
            error.add_note(f"in the block at {block.place}")
            raise

    def _command(self, text: str) -> None:
        if found := _SERVES.match(text):
            self._serve(text, found[1])
            return
        if found := _WEB_SERVES.match(text):
            self._serve_app(text, found[1])
            return
        script = f"{self._with_addresses(text)}\nenv -0 > {self._state}"
        self._to_the_end(["bash", "-e", "-o", "pipefail", "-c", script])
        variables = self._state.read_text("utf-8").split("\0")
        self._variables = dict(variable.split("=", 1) for variable in variables if variable)

    def _serve(self, text: str, name: str) -> None:
        """Start a command that serves, and wait until it does."""
        command = _LISTEN.sub(r"\g<1>0", self._with_addresses(text))
        process = self._start("bash", "-c", f"exec env {command}")
        roles = ["ingest", "gateway"] if name == "up" else [role for role in ROLES if role == name]
        for role in roles:
            given = re.search(rf"--(?:{role}-)?listen[ =]\S*?:(\d+)", text)
            port = int(given[1] if given else Settings.model_fields[f"{role}_listen"].default.rpartition(":")[2])
            self._listens(port, process.address(role))

    def _serve_app(self, text: str, port: str) -> None:
        """Start a web server with an app of the document."""
        command = self._with_addresses(text.replace(port, "0"))
        process = self._start("bash", "-c", f"exec env {command} 2>&1")
        self._listens(int(port), process.line(r"(http://127\.0\.0\.1:\d+)")[1])

    def _listens(self, port: int, address: str) -> None:
        assert port not in self._listening, f"a reader would be told that port {port} is taken"
        self._listening[port] = address

    def _program(self, block: Block, suffix: str, text: str, interpreter: str) -> None:
        path = self._folder / f"block_{block.place.rpartition(':')[2]}.{suffix}"
        path.write_text(self._with_addresses(text), "utf-8")
        if block.note != "runs on":
            self._to_the_end([interpreter, str(path)])
            return
        process = self._start(interpreter, str(path))
        soon(lambda: process.output, timeout=_SECONDS)

    def _expect(self, text: str) -> None:
        """Wait until what stands here has been printed."""
        for line in text.splitlines():
            parts = _ADDRESS.sub("127.0.0.1:…", line).split("…")
            pattern = re.compile(".*".join(map(re.escape, parts)))
            soon(lambda pattern=pattern: any(map(pattern.search, self._all_printed())), timeout=_SECONDS)

    def _all_printed(self) -> list[str]:
        return [*self._printed, *(line for process in self._running for line in process.output)]

    def _start(self, *command: str) -> Process:
        process = Process(*command[1:], program=command[0], cwd=self._folder, variables=self._variables)
        self._running.append(process)
        return process

    def _to_the_end(self, command: list[str]) -> None:
        answer = subprocess.run(
            command,
            cwd=self._folder,
            env=self._variables,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert answer.returncode == 0, f"exit code {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
        self._printed += answer.stdout.splitlines()

    def _with_addresses(self, text: str) -> str:
        """The text, with the addresses that are really listened on."""

        def real(found: re.Match[str]) -> str:
            return self._listening.get(int(found[1]), found[0]).removeprefix("http://")

        return _ADDRESS.sub(real, text.replace(_COLLECTOR, self._collector))


def _commands(text: str) -> list[str]:
    """The commands of a block: each that serves is one, and what stands between two of them is one."""
    commands = [""]
    for line in text.replace("\\\n", " ").splitlines():
        if _SERVES.match(line) or _WEB_SERVES.match(line):
            commands += [line, ""]
        else:
            commands[-1] += f"{line}\n"
    return [command for command in commands if command.strip()]


def _said(process: Process) -> str:
    return "\n".join([*process.output, *process.diagnostics])
