"""What people do in their notebooks, through the hub's proxy: two people start their
servers at the same time, run cells, restart the kernel and run them again. Prints what
each cell printed, as JSON.

    drive.py HUB_URL HUB_TOKEN WORK.json

WORK.json: {"people": {NAME: {STEP: SOURCE}}, "refused": [NAME]}
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid

import websocket

hub, hub_token, work = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))


def ask(method, address, token, body=None):
    request = urllib.request.Request(address, None if body is None else json.dumps(body).encode(), {"Authorization": "token " + token}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def start(name):
    """Start somebody's server; a refusal is its sentence."""
    try:
        ask("POST", hub + "/hub/api/users/%s/server" % name, hub_token, {})
    except urllib.error.HTTPError as e:
        return e.read().decode()
    while True:
        server = ask("GET", hub + "/hub/api/users/" + name, hub_token)["servers"].get("")
        if server is None:
            return "it did not start"
        if server["ready"]:
            return None
        time.sleep(0.2)


def run(kernel, token, source):
    """Run a cell, and give what it printed; an error is its last line."""
    url = hub.replace("http://", "ws://") + kernel["base"] + "/channels"
    connection = websocket.create_connection(url, timeout=120, header=["Authorization: token " + token], suppress_origin=True)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex, "version": "5.3"}
    connection.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "channel": "shell",
        "content": {"code": source, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}}))
    out = ""
    while True:
        message = json.loads(connection.recv())
        if message.get("parent_header", {}).get("msg_id") != header["msg_id"]:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            out += content["text"] if content["name"] == "stdout" else ""
        elif kind == "error":
            out += "%s: %s" % (content["ename"], content["evalue"])
        elif kind == "status" and content["execution_state"] == "idle":
            connection.close()
            return out


def person(name, steps, results):
    try:
        failed = start(name)
        if failed:
            results[name] = {"failed": failed}
            return
        token = ask("POST", hub + "/hub/api/users/%s/tokens" % name, hub_token, {"note": "test"})["token"]
        base = "/user/%s/api/kernels" % name
        made = ask("POST", hub + base, token, {})
        kernel = {"base": base + "/" + made["id"]}
        results[name] = {}
        for step, source in steps.items():
            if step.startswith("restart"):
                ask("POST", hub + kernel["base"] + "/restart", token, {})
            results[name][step] = run(kernel, token, source)
    except Exception as e:
        results[name] = {"failed": "%s: %s" % (type(e).__name__, e)}


results = {}
threads = [threading.Thread(target=person, args=(name, steps, results)) for name, steps in work["people"].items()]
for t in threads:
    t.start()
for t in threads:
    t.join()
refused = {name: start(name) for name in work["refused"]}
for name in work["people"]:
    ask("DELETE", hub + "/hub/api/users/%s/server" % name, hub_token)
print(json.dumps({"people": results, "refused": refused}))
