"""A supervisord of another implementation: its getAllProcessInfo reply has entries that the real one would not send."""

import os
import socketserver
import sys
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

USUAL = {"group": "", "start": 1, "stop": 0, "now": 61, "state": 20, "statename": "RUNNING", "spawnerr": "",
         "exitstatus": 0, "logfile": "", "stdout_logfile": "", "stderr_logfile": "", "pid": 7, "description": "up"}


def process(name, **odd):
    return dict(USUAL, name=name, group=name, **odd)


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


ENTRIES = [
    process("contrail-collector"),
    without(process("contrail-api"), "group", "statename"),
    process("contrail-dns", statename="PAUSED", state=55),
    process("contrail-schema", pid=None, exitstatus=None, spawnerr=None),
    process("contrail-control", statename=3, state="RUNNING"),
]
if "unnamed" in sys.argv:
    ENTRIES += [without(process("x"), "name"), "a text", None]


class Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2",)
    disable_nagle_algorithm = False

    def address_string(self):
        return "unix"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer, SimpleXMLRPCDispatcher):
    logRequests = False
    daemon_threads = True

    def __init__(self, path):
        SimpleXMLRPCDispatcher.__init__(self, allow_none=True)
        socketserver.UnixStreamServer.__init__(self, path, Handler)


path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
server = Server(path)
# Like supervisord: a result is not wrapped in a list.
server.register_function(
    lambda calls: [server._dispatch(call["methodName"], tuple(call["params"])) for call in calls], "system.multicall"
)
server.register_function(lambda: "9.9-other", "supervisor.getSupervisorVersion")
server.register_function(lambda: 4711, "supervisor.getPID")
server.register_function(lambda: ENTRIES, "supervisor.getAllProcessInfo")
server.register_function(
    lambda name: [entry for entry in ENTRIES if entry["name"] == name.split(":")[-1]][0], "supervisor.getProcessInfo"
)
server.serve_forever()
