"""The threaded way: a pool of threads, requests, a new connection each. Reads targets, one a line."""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import requests


def check(target):
    if target.startswith("http"):
        return requests.get(target, timeout=10, headers={"Connection": "close"}).status_code < 400
    host, port = target.rsplit(":", 1)
    socket.create_connection((host, int(port)), timeout=10).close()
    return True


targets = sys.stdin.read().split()
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    print(sum(pool.map(check, targets)))
