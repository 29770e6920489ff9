"""A TCP relay on 127.0.0.1 that delays, throttles, stalls, cuts and forgets: a bad line, made to measure.

Runs an event loop on a thread of its own. Delay is per direction and keeps throughput: chunks wait in a queue,
each until its own time has come. A limit on the rate counts for each direction of each connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time

CHUNK_BYTES = 65_536


class Relay:
    """Relays connections to ``target_port``; ``delay_s`` is one way, half of the round trip."""

    def __init__(self, target_port: int, *, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.bytes_per_s = 0
        self.passed_bytes = 0
        self.port = 0
        self._cut_at_bytes = 0
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._forgotten: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())

    def _call(self, what: object) -> object:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(20)  # type: ignore[arg-type]

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers |= {writer, far_writer}
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                for end in (writer, far_writer):
                    if end in self._writers:  # else it was forgotten, and stays silent
                        end.close()
                    self._writers.discard(end)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=1024)

        async def read() -> None:
            data = b"-"
            while data:
                try:
                    # A tenth of a second at a time, so that a cut after some bytes is one after about as many.
                    data = await reader.read(min(CHUNK_BYTES, self.bytes_per_s // 10 or CHUNK_BYTES))
                except OSError:
                    data = b""
                await queue.put((time.monotonic() + self.delay_s, data))

        task = asyncio.ensure_future(read())
        try:
            while True:
                due_s, data = await queue.get()
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                await self._flowing.wait()
                if not data:
                    break
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)
                with contextlib.suppress(OSError):
                    writer.write(data)
                    await writer.drain()
                self._count(len(data))
            if writer in self._writers:
                with contextlib.suppress(OSError):
                    writer.write_eof()
        finally:
            task.cancel()

    def stall(self) -> None:
        """Pass nothing on, keep everything open: a suspended laptop, a changed VPN."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """Pass on again."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def cut_after(self, size_bytes: int) -> None:
        """Reset every connection once about ``size_bytes`` more have passed, both directions together."""
        self._cut_at_bytes = self.passed_bytes + size_bytes

    def _count(self, size_bytes: int) -> None:
        self.passed_bytes += size_bytes
        if self._cut_at_bytes and self.passed_bytes >= self._cut_at_bytes:
            self._cut_at_bytes = 0
            self._abort_all()

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def forget(self) -> None:
        """Lose every connection as a network does during an hour of sleep.

        The server has given it up; this end hears nothing of that, and what it sends goes nowhere.
        """

        async def lose() -> None:
            ends = list(self._writers)
            self._writers.clear()
            for end in ends:
                name = end.get_extra_info("peername")
                if name and name[1] == self._target_port:
                    end.transport.abort()
                else:
                    end.transport.pause_reading()  # type: ignore[attr-defined]
                    self._forgotten.append(end)

        self._call(lose())

    def close(self) -> None:
        """Stop listening and end the thread."""

        async def end() -> None:
            self._server.close()  # type: ignore[attr-defined]
            for writer in (*self._writers, *self._forgotten):
                writer.transport.abort()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
