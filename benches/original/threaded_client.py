"""A monitor in the architecture of the original's threaded version, to compare with.

A thread per monitor that looks every 3 s whether it is due; a requests session of 20 connections;
a new database connection for each statement; a cache of the whole table every second. Written for
this bench: it shares no code with the original. Usage: threaded_client.py DSN; ends at SIGTERM.
"""
import datetime
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psycopg2
import psycopg2.extras
import requests

DSN = sys.argv[1]
STOP = threading.Event()
CACHE = {}
SESSION = requests.Session()
SESSION.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=20, max_retries=2))
threading.stack_size(256 * 1024)


def statement(sql, values=()):
    connection = psycopg2.connect(DSN)
    try:
        with connection, connection.cursor(
                cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def log(monitor, *lines):
    stamp = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    for line in lines:
        for name in (f"log_{monitor['id']}.txt", f"log_user_{monitor['user_id']}.txt"):
            with open(os.path.join("logs", name), "a", encoding="utf-8") as file:
                file.write(f"{stamp}# ID:{monitor['id']}  - {line}\n")


def attempt(monitor):
    kind, target = monitor["type"], monitor["url_check"]
    try:
        if kind == "ping_web":
            time.sleep(0.1)
            answer = SESSION.get(target, timeout=10)
            return answer.status_code == 200, f"HTTP {answer.status_code}"
        if kind == "tcp":
            time.sleep(0.01)
            host, port = target.rsplit(":", 1)
            socket.create_connection((host, int(port)), 5).close()
            return True, "open"
        time.sleep(0.05)
        done = subprocess.run(["ping", "-c", "1", "-W", "5", target], capture_output=True)
        return done.returncode == 0, "ping"
    except (OSError, requests.RequestException) as error:
        return False, str(error)


def check(monitor):
    for again in range(3):
        good, message = attempt(monitor)
        if good or again == 2:
            break
        STOP.wait(3)
    column = "count_online" if good else "count_offline"
    statement(f"UPDATE monitor_items SET last_check_status = %s, last_check_time = now(), "
              f"{column} = {column} + 1 WHERE id = %s", (1 if good else -1, monitor["id"]))
    log(monitor, "=== Checking", f"Type: {monitor['type']}", f"Result: {good} | {message}")


def watch(number):
    last = 0.0
    while not STOP.is_set():
        row = CACHE.get(number)
        if row is None or row["enable"] != 1:
            return
        if time.time() - last >= row["check_interval_seconds"]:
            last = time.time()
            try:
                check(row)
            except psycopg2.Error:
                return
        STOP.wait(3)


os.makedirs("logs", exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: STOP.set())
RUNNING = {}
ROUND = 0
while not STOP.is_set():
    CACHE.update((row["id"], row) for row in statement(
        "SELECT * FROM monitor_items WHERE deleted_at IS NULL AND url_check <> '' ORDER BY id"))
    if ROUND % 5 == 0:
        for key, row in CACHE.items():
            if row["enable"] == 1 and not (key in RUNNING and RUNNING[key].is_alive()):
                RUNNING[key] = threading.Thread(target=watch, args=(key,), daemon=True)
                RUNNING[key].start()
    ROUND += 1
    STOP.wait(1)
os._exit(0)
