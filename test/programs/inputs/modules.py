# SPDX-License-Identifier: Apache-2.0
"""Standard modules that reach far into the system: argument 1 scales the work. Same output on every run."""

import asyncio
import concurrent.futures
import ctypes
import ctypes.util
import decimal
import hashlib
import json
import multiprocessing
import os
import queue
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import zlib


def scale():
    return int(sys.argv[1]) if len(sys.argv) > 1 else 10


def encryption():
    """TLS between two threads over a socket pair, with a certificate made on the spot."""
    print("openssl", ssl.OPENSSL_VERSION.split()[0])
    context = ssl.create_default_context()
    print("verifies", context.verify_mode == ssl.CERT_REQUIRED, "tls 1.3", ssl.HAS_TLSv1_3)
    print(hashlib.sha512(b"km" * scale()).hexdigest()[:32], hashlib.pbkdf2_hmac("sha256", b"p", b"s", 500).hex()[:16])
    key, certificate = "key.pem", "cert.pem"
    if not os.path.exists(certificate):
        print("no certificate here")
        return
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=certificate)
    client.check_hostname = False
    left, right = socket.socketpair()

    def serve():
        with server.wrap_socket(left, server_side=True) as secure:
            while data := secure.recv(4096):
                secure.sendall(data.upper())

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(right) as secure:
        answers = []
        for i in range(5):
            secure.sendall(b"message %d" % i)
            answers.append(secure.recv(4096).decode())
        print(secure.version(), answers)
    thread.join()


def database():
    connection = sqlite3.connect("python.db")
    connection.execute("create table if not exists t(k integer primary key, v text)")
    connection.executemany("insert or replace into t values(?, ?)", ((i, str(i) * 3) for i in range(100 * scale())))
    connection.commit()
    print(connection.execute("select count(*), sum(length(v)) from t").fetchone())
    connection.close()
    os.unlink("python.db")


def numbers():
    decimal.getcontext().prec = 60
    print(decimal.Decimal(2).sqrt(), decimal.Decimal(1) / 7)
    print(json.dumps(json.loads('{"b": [1, 2.5, null, true], "a": "\\u00fc"}'), sort_keys=True))
    print(sum(i * i for i in range(1000 * scale())), 7**200 % 1000007)
    print(zlib.crc32(b"x" * 100000), len(zlib.compress(os.urandom(1000))) > 900)


def native_code():
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 7)(5, 3, 9, 1, 7, 2, 8)
    libc.qsort(values, len(values), ctypes.sizeof(ctypes.c_int), callback(lambda a, b: a[0] - b[0]))
    print(list(values), libc.getpid() == os.getpid())


def threads():
    lock, total, work = threading.Lock(), [0], queue.Queue()

    def add():
        while (item := work.get()) is not None:
            with lock:
                total[0] += item

    workers = [threading.Thread(target=add) for _ in range(8)]
    for worker in workers:
        worker.start()
    for i in range(100 * scale()):
        work.put(i)
    for _ in workers:
        work.put(None)
    for worker in workers:
        worker.join()
    print("threads", total[0])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print("pool", sum(pool.map(lambda x: x * 2, range(200))))


def square(x):
    return x * x


def processes():
    done = subprocess.run(["sh", "-c", "cat; echo done >&2; exit 3"], input=b"in\n", capture_output=True, check=False)
    print(done.returncode, done.stdout, done.stderr)
    try:
        subprocess.run(["/no/such/program"], check=False)
    except FileNotFoundError as error:
        print(error)
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        print(pool.map(square, range(20)))
    pid = os.fork()
    if pid == 0:
        os._exit(17)
    print("child", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def signals():
    caught = []
    signal.signal(signal.SIGALRM, lambda number, frame: caught.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while not caught:
        time.sleep(0.005)
    signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    print("signals", caught)


async def echo():
    async def handle(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def ask(i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"line %d\n" % i)
        answer = await reader.readline()
        writer.close()
        return answer.decode().strip()

    print(await asyncio.gather(*(ask(i) for i in range(5))))
    server.close()


def files():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "f")
        with open(path, "w", encoding="utf-8") as file:
            file.write("text\n" * 1000)
        print(os.path.getsize(path), sorted(os.listdir(directory)))
    print(os.path.realpath("/proc/self/exe") == os.path.realpath(sys.executable))


def errors():
    def recurse(depth):
        return recurse(depth + 1)

    for provoke in (lambda: recurse(0), lambda: 1 // 0, lambda: open("/no/such/file", encoding="utf-8")):
        try:
            provoke()
        except (RecursionError, ZeroDivisionError, FileNotFoundError) as error:
            print(type(error).__name__)


if __name__ == "__main__":
    for step in (encryption, database, numbers, native_code, threads, processes, signals, files, errors):
        step()
        sys.stdout.flush()
    asyncio.run(echo())
    print(threading.active_count(), "thread left")
    sys.exit(5)
