"""Runs the clients of Python that Debian has, and one rule of a client that it has not.

It reads commands, a line of JSON each, and writes what the application of each client is
given.
"""

import json
import sys
import threading

import httpx
import requests

output = threading.Lock()
stopped = set()


class Application:
    """What a client is given to by its adapter."""

    def __init__(self, command):
        self.cell, self.url, self.method = command["Cell"], command["URL"], command["Method"]

    def report(self, **what):
        with output:
            if self.cell not in stopped:
                print(json.dumps({"cell": self.cell, **what}), flush=True)

    def json(self, data, kind=""):
        """Takes an event as most applications do."""
        try:
            value = json.loads(data)
        except ValueError:
            self.report(odd=kind + "|" + data)
            raise
        if value.get("n") and value.get("text") == "✅ 入Å":
            self.report(n=value["n"])
        elif value.get("end"):
            self.report(last=True)
        else:
            self.report(odd=kind + "|" + data)


def from_requests(app):
    with requests.request(app.method, app.url, json={}, stream=True) as response:
        response.raise_for_status()
        for line in response.iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                app.json(line[5:])


def from_httpx(app):
    with httpx.stream(app.method, app.url, json={}, timeout=None) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data:"):
                app.json(line[5:])


def openai(app):
    """The rule by which OpenAI's package decodes: a blank line is an event if anything but
    a comment came before it, an ID of an earlier event too, and its data is JSON."""
    with requests.post(app.url, json={}, stream=True) as response:
        response.raise_for_status()
        fields, last_id = {}, ""
        rest = b""
        for chunk in response.iter_content(None):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                line = line.decode()
                if line.startswith(":"):
                    continue
                if line:
                    name, _, value = line.partition(":")
                    value = value[1:] if value.startswith(" ") else value
                    if name == "data":
                        fields.setdefault("data", []).append(value)
                    elif name == "id":
                        last_id = value
                    else:
                        fields[name] = value
                    continue
                if not fields and not last_id:
                    continue
                data = "\n".join(fields.get("data", []))
                fields = {}
                if data.startswith("[DONE]"):
                    return
                try:
                    choice = json.loads(data)["choices"][0]
                except (ValueError, KeyError):
                    app.report(odd=data or "an event without data")
                    raise
                app.report(n=int(choice["delta"]["content"]))
                if choice["finish_reason"]:
                    app.report(last=True)


ADAPTERS = {
    "requests": from_requests,
    "httpx": from_httpx,
    "the decoder of Python's openai": openai,
}


def run(command):
    app = Application(command)
    try:
        ADAPTERS[command["Client"]](app)
        app.report(over="done")
    except Exception as error:
        app.report(over=f"{type(error).__name__}: {error}"[:200])


for text in sys.stdin:
    command = json.loads(text)
    if command["Stop"]:
        stopped.add(command["Cell"])
    else:
        threading.Thread(target=run, args=(command,), daemon=True).start()
