"""A server of embeddings that can be made to fail: it speaks as much of OpenAI's protocol as the gateway asks for.

Its vectors come from the letters of the words, so that the same text is found again, and from the name of the model; they mean nothing. `mood` says what it does:
it `works`, it is `busy` (429), or it `hangs` (reads requests and does not answer until the mood changes).
"""

import json
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIMENSIONS = 128


class EmbeddingServer:
    """Listens on a loopback port that the system hands out; a context manager."""

    def __init__(self) -> None:
        self.mood = "works"
        self.texts = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                while outer.mood == "hangs":
                    time.sleep(0.05)
                texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
                if outer.mood == "busy":
                    self._answer(429, {"error": {"message": "too many requests"}})
                    return
                outer.texts += len(texts)
                vectors = [vector_of(text, asked["model"], asked.get("dimensions", DIMENSIONS)) for text in texts]
                data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)]
                self._answer(200, {"object": "list", "model": asked["model"], "data": data,
                                   "usage": {"prompt_tokens": 1, "total_tokens": 1}})

            def _answer(self, status: int, body: object) -> None:
                written = json.dumps(body).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(written)))
                    self.end_headers()
                    self.wfile.write(written)
                except OSError:
                    # Who asked has given up.
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "EmbeddingServer":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mood = "works"
        self.server.shutdown()

    def environment(self) -> dict[str, str]:
        """Settings of a gateway that asks this server."""
        return {"RAGBOARD_SEARCH_EMBEDDER": "http", "RAGBOARD_SEARCH_URL": f"http://{self.address}/v1",
                "RAGBOARD_SEARCH_MODEL": "letters", "RAGBOARD_SEARCH_DIMENSIONS": str(DIMENSIONS),
                "RAGBOARD_OUTBOUND_ALLOW": self.address}


def vector_of(text: str, model: str, dimensions: int) -> list[float]:
    """Counts words by a number that is made of their letters."""
    vector = [0.01] * dimensions
    begun = zlib.crc32(model.encode())
    for word in text.lower().split():
        vector[zlib.crc32(word.encode(), begun) % dimensions] += 1
    return vector
