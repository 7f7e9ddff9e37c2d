"""A client of the gateway that follows boards: GraphQL over WebSocket (`graphql-transport-ws`), and requests by HTTP.

With asyncio and nothing else, and as little work for each message as can be: ten thousand of these run in one process
beside what they measure. It believes the server (no check of the handshake's digest), and takes only what a gateway
sends: frames without extensions, answers with a length.
"""

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable

from gateway import Failure

ANSWER_WITHIN_S = 60
CONTINUATION, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
# The least significant nibble of a frame's first byte is its kind; the highest bit says that nothing more follows.
FINAL = 0x80
MASKED = 0x80


class Follower(asyncio.Protocol):
    """One socket. What its subscription tells is handed to `heard`, with the moment at which it arrived, in ns; if anything
    else happens, `failed` is told once."""

    def __init__(self, token: str, heard: Callable[[bytes, int], None], failed: Callable[[Failure], None]):
        self.token = token
        self.heard = heard
        self.failed = failed
        self.buffer = b""
        self.message = b""
        self.is_open = False
        # Of the whole handshake: HTTP, and the acknowledgement of the credentials.
        self.acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_over = False

    @classmethod
    async def connect(cls, port: int, token: str, heard: Callable[[bytes, int], None], failed: Callable[[Failure], None],
                      source: str = "127.0.0.1") -> "Follower":
        """A socket whose credentials were accepted. `source` is the loopback address it comes from."""
        make = asyncio.get_running_loop().create_connection(
            lambda: cls(token, heard, failed), "127.0.0.1", port, local_addr=(source, 0))
        _, follower = await asyncio.wait_for(make, ANSWER_WITHIN_S)
        await asyncio.wait_for(follower.acknowledged, ANSWER_WITHIN_S)
        return follower

    def subscribe(self, query: str, variables: dict[str, object]) -> None:
        """Begins the one subscription of this socket. Nothing says when it is in place, except what it tells."""
        payload = {"query": query, "variables": variables}
        self._send(TEXT, json.dumps({"id": "1", "type": "subscribe", "payload": payload}).encode())

    def close(self) -> None:
        self.is_over = True
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            b"GET /graphql/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n"
            b"Sec-WebSocket-Key: " + key.encode() + b"\r\n\r\n")

    def connection_lost(self, cause: Exception | None) -> None:
        self._fail(f"The gateway ended a connection: {cause or 'without a reason'}")

    def data_received(self, data: bytes) -> None:
        now_ns = time.perf_counter_ns()
        self.buffer += data
        if not self.is_open:
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._fail(f"The gateway opens no socket: {head[:200]!r}")
                return
            self.is_open, self.buffer = True, rest
            payload = {"Authorization": f"Bearer {self.token}"}
            self._send(TEXT, json.dumps({"type": "connection_init", "payload": payload}).encode())
        while (frame := self._frame()) is not None:
            self._take(*frame, now_ns)

    def _frame(self) -> tuple[int, bytes] | None:
        """Takes a whole frame from the buffer, if there is one: its first byte and what it carries."""
        if len(self.buffer) < 2:
            return None
        length, begin = self.buffer[1], 2
        if length > 125:
            begin = 4 if length == 126 else 10
            length = int.from_bytes(self.buffer[2:begin], "big")
        if len(self.buffer) < begin + length:
            return None
        first, carried = self.buffer[0], self.buffer[begin:begin + length]
        self.buffer = self.buffer[begin + length:]
        return first, carried

    def _take(self, first: int, carried: bytes, now_ns: int) -> None:
        kind = first & 0x0F
        if kind == PING:
            self._send(PONG, carried)
        elif kind == CLOSE:
            code = int.from_bytes(carried[:2], "big")
            self._fail(f"The gateway closed a socket with {code}: {carried[2:].decode(errors='replace')}")
        elif kind in (CONTINUATION, TEXT):
            self.message += carried
            if first & FINAL:
                message, self.message = self.message, b""
                self._read(message, now_ns)

    def _read(self, message: bytes, now_ns: int) -> None:
        # Read by their beginnings: events are many, and reading them as JSON would be most of the work of this process.
        if b'"type":"next"' in message and b'"errors"' not in message:
            self.heard(message, now_ns)
        elif b'"type":"ping"' in message:
            self._send(TEXT, b'{"type":"pong"}')
        elif b'"type":"connection_ack"' in message:
            self.acknowledged.set_result(None)
        elif b'"type":"pong"' not in message:
            self._fail(f"The gateway does not go on: {message[:500]!r}")

    def _send(self, kind: int, carried: bytes) -> None:
        # A mask of zeros is one, too, and leaves the bytes as they are.
        length = len(carried)
        size = bytes([MASKED | length]) if length < 126 else bytes([MASKED | 126]) + length.to_bytes(2, "big")
        self.transport.write(bytes([FINAL | kind]) + size + b"\0\0\0\0" + carried)

    def _fail(self, text: str) -> None:
        if self.is_over:
            return
        self.close()
        if self.acknowledged.done():
            self.failed(Failure(text))
        else:
            self.acknowledged.set_exception(Failure(text))


class Writer:
    """One connection that is kept for requests, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str):
        self.reader = reader
        self.writer = writer
        self.token = token

    @classmethod
    async def connect(cls, port: int, token: str) -> "Writer":
        return cls(*await asyncio.open_connection("127.0.0.1", port), token)

    async def send(self, query: str, variables: dict[str, object]) -> tuple[dict, int, int]:
        """The data of the answer, and when the request was sent and when the answer was there, in ns."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        head = (f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {self.token}\r\nContent-Length: {len(body)}\r\n\r\n")
        sent_ns = time.perf_counter_ns()
        self.writer.write(head.encode() + body)
        answer = await asyncio.wait_for(self._answer(), ANSWER_WITHIN_S)
        answered_ns = time.perf_counter_ns()
        read = json.loads(answer)
        if "errors" in read:
            raise Failure(f"The gateway answered with errors: {read['errors'][:3]}")
        return read["data"], sent_ns, answered_ns

    async def _answer(self) -> bytes:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        status, *fields = head.split("\r\n")
        if " 200 " not in f"{status} ":
            raise Failure(f"The gateway answered with {status}")
        length = next((field.partition(":")[2] for field in fields if field.startswith("content-length:")), None)
        if length is None:
            raise Failure("The gateway answered without a length")
        return await self.reader.readexactly(int(length))

    def close(self) -> None:
        self.writer.close()
