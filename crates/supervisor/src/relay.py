# Carries bytes between standard streams and unix sockets, and looks at none of them. Python 2.6 and later, and 3.
# A frame is its kind, the number of its socket, the length of its bytes, the bytes. Kinds: o opens a path, and answers;
# e says why it could not (the errno); d carries data; c closes. It ends when standard input ends.
import errno, os, select, socket, struct, sys
socks = {}
rest = b""
def put(kind, number, data=b""):
    data = struct.pack("!cHH", kind, number, len(data)) + data
    while data:
        data = data[os.write(1, data):]
def close(number, tell):
    sock = socks.pop(number, None)
    if sock is not None:
        sock.close()
        if tell:
            put(b"c", number)
def take(kind, number, data):
    if kind == b"o":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        try:
            if number in socks or len(socks) >= 64:
                raise socket.error(errno.EMFILE, "too many")
            sock.connect(data)
            socks[number] = sock
            put(b"o", number)
        except socket.error:
            sock.close()
            code = getattr(sys.exc_info()[1], "errno", None) or errno.ETIMEDOUT
            put(b"e", number, str(code).encode())
    elif kind == b"d" and number in socks:
        try:
            socks[number].sendall(data)
        except socket.error:
            close(number, True)
    elif kind == b"c":
        close(number, False)
while True:
    ready = select.select([0] + list(socks.values()), [], [])[0]
    for number, sock in list(socks.items()):
        if sock in ready:
            try:
                data = sock.recv(16384)
            except socket.error:
                data = b""
            if data:
                put(b"d", number, data)
            else:
                close(number, True)
    if 0 in ready:
        more = os.read(0, 16384)
        if not more:
            break
        rest += more
        while len(rest) >= 5:
            kind, number, size = struct.unpack("!cHH", rest[:5])
            if len(rest) < 5 + size:
                break
            data, rest = rest[5:5 + size], rest[5 + size:]
            take(kind, number, data)
