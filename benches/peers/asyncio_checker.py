"""The asyncio way: one task a check, aiohttp, a new connection each. Reads targets, one a line."""

import asyncio
import sys

import aiohttp


async def check(session, target, gate):
    async with gate:
        if target.startswith("http"):
            async with session.get(target) as answer:
                await answer.read()
                return answer.status < 400
        host, port = target.rsplit(":", 1)
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        return True


async def main():
    targets = sys.stdin.read().split()
    gate = asyncio.Semaphore(int(sys.argv[1]))
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        checks = [check(session, target, gate) for target in targets]
        good = sum(await asyncio.gather(*checks, return_exceptions=True))
    print(good)


asyncio.run(main())
