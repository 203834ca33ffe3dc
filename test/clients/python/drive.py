"""What the drivers of the Python clients share: the operations that are asked
for, where their files are, and one line of JSON for each."""

import json
import os
import sys
import traceback

ENDPOINT = os.environ["CLIENT_ENDPOINT"]
HOST = ENDPOINT.split("://", 1)[1]
BUCKET = os.environ["CLIENT_BUCKET"]
PREFIX = os.environ["CLIENT_PREFIX"]  # with a last slash
FILES = os.environ["CLIENT_FILES"]  # what to upload
OUT = os.environ["CLIENT_OUT"]  # what was read back goes here
CA = os.environ.get("CLIENT_CA", "")
REGION = os.environ["AWS_REGION"]
ACCESS_KEY = os.environ.get("AWS_ACCESS_KEY_ID")  # without: as the client finds keys by itself
SECRET_KEY = os.environ.get("AWS_SECRET_ACCESS_KEY")
SESSION_TOKEN = os.environ.get("AWS_SESSION_TOKEN")
SOURCE = os.environ["CLIENT_SOURCE"]  # an object that is there
MANY = os.environ["CLIENT_MANY"]  # a prefix below which 10,000 objects are
PART = 5 << 20


class Lacking(Exception):
    """The client has no such thing; the text is its own."""


class Unseekable:
    """A source that can be read once, from its start to its end."""

    def __init__(self, name):
        self.file = open(os.path.join(FILES, name), "rb")

    def read(self, size=-1):
        return self.file.read(min(size, 10_000) if size > 0 else size)

    def readable(self):
        return True

    def seekable(self):
        return False


def content(name):
    with open(os.path.join(FILES, name), "rb") as f:
        return f.read()


def keep(name, data):
    """Leaves what was read back where it is compared."""
    path = os.path.join(OUT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def keep_list(keys, name="list"):
    keep(name, "".join(k + "\n" for k in keys).encode())


def odd_names():
    with open(os.path.join(FILES, "odd.json"), encoding="utf-8") as f:
        return json.load(f)


def odd(put, get, listing):
    """Puts and reads back each odd key by itself, and lists them; gives what
    went wrong, by name."""
    errors = {}
    for name in odd_names():
        try:
            put("odd/" + name)
            keep("odd/" + name, get("odd/" + name))
        except Exception as e:  # whatever it is, it is told by name
            errors[name] = said(e)
    keep_list(listing(), "odd.list")
    return {"errors": errors}


def said(e):
    return f"{type(e).__name__}: {e}"


def run(version, operations):
    """Runs what the arguments name. An operation gives nothing, or what to add
    to its line."""
    print(json.dumps({"op": "version", "version": version}), flush=True)
    for op in sys.argv[1:]:
        line = {"op": op}
        try:
            line |= operations[op]() or {}
        except Exception as e:
            line["error"] = said(e)
            if not isinstance(e, Lacking):
                traceback.print_exc()
        print(json.dumps(line), flush=True)
