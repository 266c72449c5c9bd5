"""A monitor in the architecture of the original's AsyncIO version, to compare with.

Threads with an event loop each; a task per monitor that wakes every second; a cache of the whole
table every 2 s; an aiohttp session and an asyncpg pool per thread; SET search_path before each
statement; two statements and eight log records a check. Written for this bench: it shares no code
with the original. Usage: asyncio_client.py DSN; it ends at SIGTERM.
"""
import asyncio
import datetime
import json
import os
import signal
import sys
import threading
import time

import aiohttp
import asyncpg
import ping3

DSN = sys.argv[1]
THREADS = min(4, os.cpu_count() or 1)
SEMAPHORE, POOL, RETRIES, RETRY_DELAY = 500, 50, 2, 5.0
STOP = threading.Event()
CACHE = {}


def log(monitor, *lines):
    stamp = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    for line in lines:
        for name in (f"log_{monitor['id']}.txt", f"log_user_{monitor['user_id']}.txt"):
            with open(os.path.join("logs", name), "a", encoding="utf-8") as file:
                file.write(f"{stamp}# ID:{monitor['id']}  - {line}\n")


async def statement(pool, sql, *values):
    async with pool.acquire() as connection:
        await connection.execute("SET search_path TO glx_monitor_v2, public")
        return await connection.fetch(sql, *values)


async def attempt(session, monitor):
    kind, target, begun = monitor["type"], monitor["url_check"], time.perf_counter()
    try:
        if kind == "ping_web":
            async with session.get(target, ssl=False) as answer:
                taken = (time.perf_counter() - begun) * 1000
                body = await answer.content.read(10240)
                details = {"status_code": answer.status, "reason": answer.reason,
                           "content_length": len(body), "headers": dict(answer.headers),
                           "url": str(answer.url)}
                message = f"HTTP {answer.status} - {answer.reason}"
                return answer.status < 400, taken, message, details
        if kind == "tcp":
            host, port = target.rsplit(":", 1)
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), 10)
            taken = (time.perf_counter() - begun) * 1000
            writer.close()
            return True, taken, f"TCP connection successful to {target}", {"hostname": host}
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, lambda: ping3.ping(target, timeout=10))
        if found:
            return True, found * 1000, f"ICMP ping successful to {target}", {"hostname": target}
        return False, None, f"ICMP ping failed to {target}: No response or timeout", {}
    except Exception as error:  # as the original: whatever it is, the target is to blame
        return False, None, f"client error: {error}", {"error": str(error)}


async def check(monitor, session, pool, semaphore, number, delta):
    async with semaphore:
        for again in range(RETRIES + 1):
            good, taken, message, details = await attempt(session, monitor)
            if good or again == RETRIES:
                break
            await asyncio.sleep(RETRY_DELAY)
        column = "count_online" if good else "count_offline"
        await statement(pool, f"UPDATE monitor_items SET last_check_status = $1, "
                        f"last_check_time = now(), {column} = {column} + 1, updated_at = now() "
                        f"WHERE id = $2 AND deleted_at IS NULL", 1 if good else -1, monitor["id"])
        await statement(pool, "INSERT INTO monitor_checks VALUES (now(), $1, $2, $3, $4, $5, $6, "
                        "$7)", monitor["id"], monitor["user_id"] or 0, monitor["type"],
                        1 if good else -1, taken, message, json.dumps(details))
        log(monitor, "Internet OK", "=== Checking", f"Type: {monitor['type']}", "Content preview",
            f"Result: {good} | {message}", f"DTime = {delta}", f"Check #{number}", "Break loop...")


async def watch(monitor, *shared):
    first, number, last = time.time(), 0, None
    while not STOP.is_set():
        row = CACHE.get(monitor["id"])
        if row is None or row["enable"] != 1:
            return
        number += 1
        delta, last = (time.time() - last if last else None), time.time()
        await check(row, *shared, number, delta)
        due = first + number * row["check_interval_seconds"]
        while not STOP.is_set() and time.time() < due:
            await asyncio.sleep(min(1.0, max(0.0, due - time.time())))


async def cache():
    pool = await asyncpg.create_pool(DSN, min_size=1, max_size=5, statement_cache_size=0)
    while not STOP.is_set():
        rows = await statement(pool, "SELECT * FROM public.monitor_items WHERE deleted_at IS NULL "
                               "ORDER BY id")
        CACHE.update((row["id"], dict(row)) for row in rows)
        await asyncio.sleep(2)
    await pool.close()


async def worker(number):
    limit = max(5, POOL // THREADS)
    pool = await asyncpg.create_pool(DSN, min_size=5, max_size=limit, statement_cache_size=0)
    connector = aiohttp.TCPConnector(limit=2000 // THREADS, limit_per_host=100)
    timeout = aiohttp.ClientTimeout(total=30, connect=10)
    semaphore = asyncio.Semaphore(SEMAPHORE)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        rows = [row for row in sorted(CACHE.values(), key=lambda row: row["id"])
                if row["enable"] == 1]
        size = max(1, len(rows) // THREADS)
        mine = rows[number * size:] if number == THREADS - 1 else \
            rows[number * size:(number + 1) * size]
        tasks = [asyncio.create_task(watch(row, session, pool, semaphore)) for row in mine]
        while not STOP.is_set():
            await asyncio.sleep(0.5)
        for task in tasks:
            task.cancel()
    pool.terminate()


os.makedirs("logs", exist_ok=True)
signal.signal(signal.SIGTERM, lambda *_: STOP.set())
threading.Thread(target=lambda: asyncio.run(cache()), daemon=True).start()
while not CACHE and not STOP.is_set():
    time.sleep(0.1)
WORKERS = [threading.Thread(target=lambda n=n: asyncio.run(worker(n)), daemon=True)
           for n in range(THREADS)]
for thread in WORKERS:
    thread.start()
while not STOP.is_set():
    time.sleep(0.2)
for thread in WORKERS:
    thread.join(5)
os._exit(0)
