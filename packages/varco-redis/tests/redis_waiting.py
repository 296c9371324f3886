"""Waiting for what comes about in its own time."""

import asyncio


async def until(condition, seconds=300):
    """Wait until a condition, or what it returns when awaited, is true."""
    async with asyncio.timeout(seconds):
        while True:
            done = condition()
            if asyncio.iscoroutine(done):
                done = await done
            if done:
                return
            await asyncio.sleep(0.01)


async def has(counting, number):
    """Whether what is being counted comes to a number."""
    return await counting == number
