#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hold.py FILE ASK ANSWER: keep a file of 8 MiB open that has no name any more.

Each line "check" from the pipe ASK is answered with "right" when it can be read and written.
"""

import os
import random
import sys

path, ask, answer = sys.argv[1:]
data = bytearray(random.Random(path).randbytes(8 << 20))
fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.write(fd, data)
os.unlink(path)
with open(ask) as lines, open(answer, 'w') as out:
    for nr, line in enumerate(lines):
        if line != 'check\n':
            break
        try:
            data[nr * 5000:nr * 5000 + 4] = b'%04d' % nr
            os.pwrite(fd, data[nr * 5000:nr * 5000 + 4], nr * 5000)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            st = os.fstat(fd)
            right = st.st_nlink == 0 and st.st_size == len(data)
            right = right and os.pread(fd, len(data), 0) == data
            print('right' if right else f'wrong: {st}', file=out, flush=True)
        except OSError as e:
            print(e, file=out, flush=True)
os.close(fd)
