#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""ask.py SOCKET|MOUNT-POINT COMMAND [KEY...]: ask a control socket, print the value behind KEY...

A number as a key is an index; "#" is the length of a list.
"""

import json
import re
import socket
import sys


def ask(path, command, seconds=5):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(seconds)
        s.connect(path)
        s.sendall(json.dumps({'cmd': command}).encode() + b'\n')
        data = b''
        while chunk := s.recv(65536):
            data += chunk
    return json.loads(data)


def socket_of(path):
    """Not a question to the filesystem: a mount point is known by its name alone."""
    if path.endswith('.sock'):
        return path
    name = re.sub(r'[^A-Za-z0-9_:./]', lambda m: f'\\x{ord(m.group()):02x}', path.strip('/'))
    return '/run/pagewire/mount-' + name.replace('/', '-') + '.sock'


def main():
    value = ask(socket_of(sys.argv[1]), sys.argv[2])
    for key in sys.argv[3:]:
        if key == '#':
            value = len(value)
        elif isinstance(value, list):
            value = value[int(key)]
        else:
            value = value[key]
    print(value if isinstance(value, str) else json.dumps(value))


if __name__ == '__main__':
    main()
