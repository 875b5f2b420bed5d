#!/usr/bin/python3
"""A service with Contrail's introspect port. A file sets its NodeStatus reply.

Arguments: port, module, path of the file. The file's first line is the order, the other lines are its parameters;
without the file the service is Functional. The file is read again for each request.

    Functional                 Functional
    Non-Functional             the second line is the description
    Connections                Non-Functional; each further line is a connection: type, name and status, with tabs
    ToR                        Non-Functional, with a connection of type ToR; the second line is its status
    Several                    first a NodeStatus without process_status, as node managers send it, then a Functional one
    EmptyList, NoProcesses, NoNodeStatus    an empty process list; no process list; no NodeStatus
    Status                     the second line is an HTTP error code
    Hang                       the request is read, a line is written to the file PATH.hangs, and no reply is sent
    Close                      the connection is closed at once
    Garbage, Cut, Huge         not HTTP; XML that ends in the middle; 4 MiB

It has one process, one thread and no library except sockets, because a test cluster runs a hundred of them.
"""
import socket
import sys

PORT, MODULE, PATH = int(sys.argv[1]), sys.argv[2], sys.argv[3]
HANGING = []


def order():
    try:
        with open(PATH, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except OSError:
        lines = []
    lines = lines or [""]
    return lines[0] or "Functional", lines[1:] + [""]


def element(name, text):
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<{name} type="string" identifier="2">{text}</{name}>'


def connection(kind, name, status):
    fields = element("type", kind) + element("name", name)
    fields += '<server_addrs type="list" identifier="3"><list type="string" size="1">'
    fields += "<element>192.0.2.31:9042</element></list></server_addrs>"
    fields += element("status", status) + '<description type="string" identifier="5"/>'
    return f"<ConnectionInfo>{fields}</ConnectionInfo>"


def process(state, description="", connections=()):
    fields = element("module_id", MODULE) + element("instance_id", "0") + element("state", state)
    fields += f'<connection_infos type="list" identifier="4"><list type="struct" size="{len(connections)}">'
    fields += "".join(connections) + "</list></connection_infos>" + element("description", description)
    return f"<ProcessStatus>{fields}</ProcessStatus>"


def processes(*all_of_them):
    inside = "".join(all_of_them)
    size = len(all_of_them)
    return f'<process_status type="list" identifier="4"><list type="struct" size="{size}">{inside}</list></process_status>'


def node_status(inside):
    name = '<name type="string" identifier="1" key="ObjectCollectorInfo">node</name>'
    status = f'<data type="struct" identifier="1"><NodeStatus>{name}{inside}</NodeStatus></data>'
    return f'<NodeStatusUVE type="sandesh">{status}</NodeStatusUVE>'


def document(*statuses):
    end = f'<SandeshUVECacheResp type="sandesh"><returned type="u32" identifier="1">{len(statuses)}</returned>'
    end += '<more type="bool" identifier="0">false</more></SandeshUVECacheResp>'
    return f'<__NodeStatusUVE_list type="slist">{"".join(statuses)}{end}</__NodeStatusUVE_list>'


def answer(word, lines):
    """The body of a reply; None for orders without an HTTP reply."""
    first = lines[0]
    if word == "Functional":
        return document(node_status(processes(process("Functional"))))
    if word == "Non-Functional":
        return document(node_status(processes(process("Non-Functional", first))))
    if word == "Connections":
        all_of_them = [connection(*line.split("\t")) for line in lines if line]
        down = [line.split("\t") for line in lines if line and not line.endswith("\tUp")]
        said = ", ".join(f"{kind}:{name}" for kind, name, _ in down) + " connection down"
        return document(node_status(processes(process("Non-Functional", said, all_of_them))))
    if word == "ToR":
        all_of_them = [connection("Zookeeper", "Zookeeper", "Up"), connection("ToR", "tor-7", first)]
        return document(node_status(processes(process("Non-Functional", "ToR connection down", all_of_them))))
    if word == "Several":
        manager = node_status('<process_info type="list" identifier="5"><list type="struct" size="0"/></process_info>')
        well = processes(process("Functional"), process("Non-Functional", "of a second process, which is not read"))
        return document(manager, node_status(well))
    if word == "EmptyList":
        return document(node_status(processes()))
    if word == "NoProcesses":
        return document(node_status(""))
    if word == "NoNodeStatus":
        return document()
    if word == "Cut":
        return document(node_status(processes(process("Functional"))))[:300]
    if word == "Huge":
        return document(node_status(processes(process("Non-Functional", "x" * (4 << 20)))))
    raise SystemExit(f"no such order: {word}")


def serve(client):
    client.settimeout(10)
    question = b""
    while b"\r\n\r\n" not in question:
        part = client.recv(4096)
        if not part:
            return
        question += part
    word, lines = order()
    if word == "Hang":
        HANGING.append(client)
        with open(PATH + ".hangs", "a", encoding="utf-8") as file:
            file.write("a question hangs\n")
        return
    if word == "Close":
        return
    if word == "Garbage":
        client.sendall(b"\x00\x01\x02 220 mail.example.net ESMTP\r\n")
        return
    status, body = ("200 OK", "") if word != "Status" else (f"{lines[0]} As Ordered", "it went wrong")
    if word == "Status" or b"GET /Snh_SandeshUVECacheReq?x=NodeStatus " not in question:
        status = status if word == "Status" else "404 Not Found"
    else:
        body = answer(word, lines)
    body = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client.sendall(head.encode() + body)


listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
while True:
    client, _ = listener.accept()
    try:
        serve(client)
    except OSError:
        pass
    if client not in HANGING:
        client.close()
