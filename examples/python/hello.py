# SPDX-License-Identifier: Apache-2.0
# km python3 hello.py
import os
import sys
import threading

lines = []
threads = [threading.Thread(target=lambda n=n: lines.append(n * n)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("Hello from Python", sys.version.split()[0], "in process", os.getpid(), "- squares:", sorted(lines))
