#!/usr/bin/python3
"""A service with Contrail's introspect port: answers NodeStatus with the state and description that a file holds.

Arguments: port, module, path of the file (first line the state, second the description).
"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, MODULE, PATH = int(sys.argv[1]), sys.argv[2], sys.argv[3]
BODY = """<__NodeStatusUVE_list type="slist"><NodeStatusUVE type="sandesh"><data type="struct" identifier="1"><NodeStatus>
<name type="string" identifier="1" key="ObjectCollectorInfo">node</name>
<process_status type="list" identifier="4" aggtype="union"><list type="struct" size="1"><ProcessStatus>
<module_id type="string" identifier="1">{module}</module_id><instance_id type="string" identifier="2">0</instance_id>
<state type="string" identifier="3">{state}</state><connection_infos type="list" identifier="4"><list type="struct" size="0"/></connection_infos>
<description type="string" identifier="5">{description}</description>
</ProcessStatus></list></process_status></NodeStatus></data></NodeStatusUVE>
<SandeshUVECacheResp type="sandesh"><returned type="u32" identifier="1">1</returned><more type="bool" identifier="0">false</more></SandeshUVECacheResp>
</__NodeStatusUVE_list>"""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with open(PATH, encoding="utf-8") as file:
            state, description = (file.read() + "\n\n").split("\n")[:2]
        body = BODY.format(module=MODULE, state=state, description=description).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
