"""How many SQL statements each kind of mutation takes, as the gateway counts them: one after the other, on a board of its own.

What the gateway does in the background meanwhile is left out by its name. BEGIN and COMMIT are not counted: two more for
each mutation that changes a board.
"""

import json
from collections.abc import Iterator

from gateway import Failure, Gateway
from measuring import ID_ALPHABET

# Done in the background: for memory, for followers, once a day. Whatever begins so.
BACKGROUND = ("stamps", "activity.write", "usage.add", "snapshot.", "events.", "presence.", "read_only", "api_keys.used",
              "expired.", "partitions.", "ping", "max_connections", "jobs.changes", "jobs.claim", "jobs.beat",
              "jobs.settle", "jobs.recover", "jobs.backlog")
# The scenario is run this often; the first time, statements are prepared and memory is empty.
ROUNDS = 3
BATCH = 500
PASSWORD = "a password of the benchmark"



class Asker:
    """Asks the gateway for mutations of one input, and remembers how many statements each took."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self.names: dict[str, list[list[str]]] = {}

    def change(self, token: str, title: str, name: str, given: dict[str, object], fields: str = "") -> dict:
        """Runs a mutation; what its payload holds. `title` is what the table calls it."""
        type_name = {"deleteBoard": "BoardInput", "restoreBoard": "BoardInput", "deleteNodes": "NodesInput",
                     "restoreNodes": "NodesInput", "refreshSession": "SessionInput", "signOut": "SessionInput",
                     "revokeShare": "ShareInput"}.get(name, f"{name[0].upper()}{name[1:]}Input")
        query = f"mutation ($input: {type_name}!) {{ {name}(input: $input) {{ {fields} userErrors {{ message }} }} }}"
        before = self.gateway.sql_statements_by_name()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = json.dumps({"query": query, "variables": {"input": given}})
        answer = json.loads(self.gateway.answers([body], headers)[0])
        payload = (answer.get("data") or {}).get(name)
        if payload is None or payload["userErrors"]:
            raise Failure(f"{title} was not done: {json.dumps(answer)[:500]}")
        after = self.gateway.sql_statements_by_name()
        ran = [statement for statement, count in after.items() if not statement.startswith(BACKGROUND)
               for _ in range(count - before.get(statement, 0))]
        self.names.setdefault(title, []).append(ran)
        return payload


def count_statements(gateway: Gateway, token: str) -> dict[str, list[str] | None]:
    """The names of the statements of each kind of mutation, as in the last round; None where it was not counted."""
    asker = Asker(gateway)
    for number in range(ROUNDS):
        of_boards(asker, token, number)
        of_accounts(asker, token, number)
    return {title: rounds[-1] for title, rounds in asker.names.items()} | not_counted(gateway, asker)


def not_counted(gateway: Gateway, asker: Asker) -> dict[str, None]:
    """Mutations of the schema that nothing here asks for."""
    query = "{ __schema { mutationType { fields { name } } } }"
    answer = json.loads(gateway.answers([json.dumps({"query": query})], {})[0])
    counted = {title.partition(",")[0] for title in asker.names}
    fields = answer["data"]["__schema"]["mutationType"]["fields"]
    return {field["name"]: None for field in fields if field["name"] not in counted}


def of_boards(asker: Asker, token: str, number: int) -> None:
    """Boards, what lies on them, and links."""
    def change(title: str, name: str, given: dict[str, object], fields: str = "") -> dict:
        return asker.change(token, title, name, given, fields)

    board = change("createBoard", "createBoard", {"name": f"Kinds {number}"}, "board { id }")["board"]["id"]
    on = {"boardId": board}
    change("updateBoard", "updateBoard", {"id": board, "description": "For counting"})
    nodes = {}
    for kind, given in {"Resource": {"title": "A note", "content": "A text"}, "Chat": {"systemPrompt": "Be brief"},
                        "Folder": {"name": "A folder"}}.items():
        made = change(f"create{kind}Node", f"create{kind}Node", on | given, "node { id }")
        nodes[kind] = made["node"]["id"]
    change("updateResourceNode", "updateResourceNode", {"id": nodes["Resource"], "content": "Another text"}, "node { id }")
    change("updateChatNode", "updateChatNode", {"id": nodes["Chat"], "systemPrompt": "Be long"}, "node { id }")
    change("updateFolderNode", "updateFolderNode", {"id": nodes["Folder"], "name": "Another folder"}, "node { id }")
    many = [new_id(board, place) for place in range(BATCH)]
    made = [{"createResource": {"id": node, "title": "One of many"}} for node in many]
    change(f"applyBoardChanges, {BATCH} new resources", "applyBoardChanges", on | {"changes": made})
    for title, moved in {"moveNodes, 1": [nodes["Chat"]], f"moveNodes, {BATCH}": many}.items():
        moves = [{"id": node, "position": {"x": place, "y": number + 1}} for place, node in enumerate(moved)]
        change(title, "moveNodes", on | {"moves": moves})
    place = {"folderId": nodes["Folder"]}
    change("placeInFolder, 1", "placeInFolder", on | {"nodeIds": [nodes["Resource"]], "place": place})
    change("placeInFolder, 100", "placeInFolder", on | {"nodeIds": many[:100], "place": place})
    ends = {"fromId": nodes["Chat"], "toId": nodes["Resource"]}
    link = change("linkNodes", "linkNodes", on | ends, "link { id }")["link"]["id"]
    change("updateLink", "updateLink", {"id": link, "label": "A label"})
    change("unlinkNodes", "unlinkNodes", on | {"linkIds": [link]})
    change("deleteNodes, a folder of 101", "deleteNodes", on | {"nodeIds": [nodes["Folder"]]})
    change("restoreNodes, a folder of 101", "restoreNodes", on | {"nodeIds": [nodes["Folder"]]})
    keyed = {"moves": [{"id": nodes["Chat"], "position": {"x": 1, "y": -1}}], "idempotencyKey": f"kinds {number}"}
    change("moveNodes, 1, under a key", "moveNodes", on | keyed)
    change("moveNodes, 1, the same again", "moveNodes", on | keyed)
    change("duplicateBoard, 503 nodes", "duplicateBoard", {"id": board, "name": f"Copy {number}"})
    change("deleteBoard", "deleteBoard", {"id": board})
    change("restoreBoard", "restoreBoard", {"id": board})


def of_accounts(asker: Asker, token: str, number: int) -> None:
    """Accounts and sharing."""
    email = f"kinds{number}@ragboard.example"
    session = "accessToken refreshToken user { id }"
    guest = asker.change("", "signUp", "signUp", {"email": email, "password": PASSWORD}, session)
    guest |= asker.change("", "signIn", "signIn", {"email": email, "password": PASSWORD}, session)
    guest |= asker.change("", "refreshSession", "refreshSession", {"refreshToken": guest["refreshToken"]}, session)
    theirs, person = guest["accessToken"], guest["user"]["id"]
    asker.change(theirs, "updateViewer", "updateViewer", {"name": "A guest"})
    board = asker.change(token, "createBoard", "createBoard", {"name": f"Shared {number}"}, "board { id }")["board"]["id"]
    on = {"boardId": board}
    share = asker.change(token, "shareBoard", "shareBoard", on, "share { id }")["share"]["id"]
    asker.change(token, "revokeShare", "revokeShare", {"id": share})
    asker.change(token, "inviteCollaborator", "inviteCollaborator", on | {"email": email, "role": "VIEW"})
    asker.change(theirs, "acceptInvitation", "acceptInvitation", on)
    asker.change(token, "changeCollaboratorRole", "changeCollaboratorRole", on | {"userId": person, "role": "EDIT"})
    asker.change(token, "removeCollaborator", "removeCollaborator", on | {"userId": person})
    key = asker.change(token, "createApiKey", "createApiKey", {"name": f"Key {number}", "scopes": ["READ"]}, "apiKey { id }")
    asker.change(token, "revokeApiKey", "revokeApiKey", {"id": key["apiKey"]["id"]})
    asker.change("", "signOut", "signOut", {"refreshToken": guest["refreshToken"]})


def new_id(board: str, place: int) -> str:
    """An id as a client may choose it, of the moment of its board: version 7 of UUIDs, with a number in its last bits."""
    bits = 0
    for character in board.partition("_")[2]:
        bits = bits << 5 | ID_ALPHABET.index(character)
    bits = bits >> 16 << 16 | place
    return "node_" + "".join(ID_ALPHABET[bits >> 5 * group & 31] for group in reversed(range(26)))


def kinds_table(kinds: dict[str, list[str] | None]) -> str:
    """The numbers in Markdown, with the statements by their names."""
    def rows() -> Iterator[str]:
        for title, names in kinds.items():
            if names is None:
                yield f"| {title} | – | not counted |"
                continue
            told = ", ".join(f"{names.count(name)} × {name}" if names.count(name) > 1 else name
                             for name in dict.fromkeys(names))
            yield f"| {title} | {len(names)} | {told} |"

    return "\n".join(["", "| mutation | SQL statements | which |", "|---|--:|---|", *rows()])
