"""A worker that speaks as it is told: `liar.py SCRIPT SOCKET BOARD LIFELINE`.

SCRIPT is a JSON list of what to do: {"send": [message, …]} as frames with the right tags,
{"hex": …} as raw bytes, {"wait": tag} reads requests up to one of that kind, {"repeat": message}
for ever, {"board": bytes, to be written}, {"sleep": seconds}, {"shut": true}.
"""

import json
import os
import socket
import struct
import sys
import time

import msgspec


def framed(message):
    body = msgspec.msgpack.encode(message)
    return struct.pack("<I", len(body)) + body


def read(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise SystemExit(0)
        data += more
    return data


def main():
    script, number, board = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    connection = socket.socket(fileno=number)
    for step in script:
        ((verb, what),) = step.items()
        if verb == "send":
            for message in what:
                connection.sendall(framed(message))
        elif verb == "hex":
            connection.sendall(bytes.fromhex(what))
        elif verb == "wait":
            while True:
                (length,) = struct.unpack("<I", read(connection, 4))
                if msgspec.msgpack.decode(read(connection, length))[0] == what:
                    break
        elif verb == "repeat":
            while True:
                connection.sendall(framed(what) * 1000)
        elif verb == "board":
            os.pwrite(board, bytes(what), 0)
        elif verb == "sleep":
            time.sleep(what)
        else:
            connection.shutdown(socket.SHUT_WR)
    time.sleep(60)


main()
