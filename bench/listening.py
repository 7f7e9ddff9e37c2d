"""What is followed and changed by the benchmark of following: boards, nodes that are moved, and whoever waits for events."""

import asyncio
import random
from dataclasses import dataclass

from gateway import Failure, Gateway
from measuring import type_id
from sockets import Writer

# An event must be heard in this time, or the run fails.
HEARD_WITHIN_S = 30

FOLLOW = """subscription ($board: ID!, $after: String) { boardEvents(boardId: $board, after: $after) {
  __typename ... on BoardChanged { version cursor clientMutationId changes { __typename ... on NodeSaved { nodeId } } } } }"""
MOVE = """mutation ($input: MoveNodesInput!) { moveNodes(input: $input) { board { version } userErrors { message } } }"""
PLACE = "query ($board: ID!) { board(id: $board) { eventCursor } }"


@dataclass(frozen=True)
class Board:
    """A board, and a node of it that is moved."""

    id: str
    node: str


def read_boards(gateway: Gateway) -> list[Board]:
    rows = gateway.psql("--command=SELECT k.board_id, n.node_id FROM bench.boards k "
                        "JOIN bench.nodes n ON n.board_number = k.number AND n.number = 2 ORDER BY k.number").split()
    return [Board(type_id("board", board), type_id("node", node)) for board, node in (row.split("|") for row in rows)]


async def move(writer: Writer, board: Board, name: str) -> tuple[int, int]:
    """Moves the node of a board; when this was sent and when it was answered, in ns."""
    moves = [{"id": board.node, "position": {"x": random.randint(0, 10_000), "y": random.randint(0, 10_000)}}]
    given = {"input": {"boardId": board.id, "moves": moves, "clientMutationId": name}}
    data, sent_ns, answered_ns = await writer.send(MOVE, given)
    if data["moveNodes"]["userErrors"]:
        raise Failure(f"A node was not moved: {data['moveNodes']['userErrors']}")
    return sent_ns, answered_ns


async def place_in_log(writer: Writer, board: Board) -> str:
    """Where in the log of a board its next event will come."""
    data, _, _ = await writer.send(PLACE, {"board": board.id})
    return data["board"]["eventCursor"]


class Listener:
    """Whoever waits for events: how many are awaited, by the name of their mutation, and when each arrived."""

    def __init__(self) -> None:
        self.mark = b""
        self.awaited = 0
        self.moments: list[int] = []
        self.all_heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expect(self, name: str, awaited: int) -> None:
        self.mark, self.awaited, self.moments = f'"clientMutationId":"{name}"'.encode(), awaited, []
        self.all_heard = asyncio.get_running_loop().create_future()

    def note(self, message: bytes, now_ns: int) -> None:
        if self.mark not in message or len(self.moments) == self.awaited:
            self.fail(Failure(f"Heard what nobody waits for: {message[:500]!r}"))
            return
        self.moments.append(now_ns)
        if len(self.moments) == self.awaited and not self.all_heard.done():
            self.all_heard.set_result(None)

    def fail(self, failure: Failure) -> None:
        # The first failure tells most; it is raised when somebody waits.
        if not self.all_heard.done() or not self.all_heard.exception():
            self.all_heard = asyncio.get_running_loop().create_future()
            self.all_heard.set_exception(failure)

    async def heard(self) -> list[int]:
        """When those that were awaited arrived, in ns."""
        try:
            await asyncio.wait_for(asyncio.shield(self.all_heard), HEARD_WITHIN_S)
        except TimeoutError:
            raise Failure(f"{len(self.moments)} of {self.awaited} events were heard within {HEARD_WITHIN_S} s") from None
        return self.moments
