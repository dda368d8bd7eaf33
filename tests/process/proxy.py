"""A proxy before a real S3 server that does to requests what networks and servers do on bad days."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>a fault</Message></Error>'
_CODES = {
    403: "AccessDenied",
    409: "ConditionalRequestConflict",
    412: "PreconditionFailed",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    ``kind``: ``"status"`` answers in the server's place, ``"status after"`` once the server has
    acted, ``"drop"`` acts and gives no answer, ``"refuse"`` closes without acting, ``"cut"`` gives
    half of the body, ``"delay"`` waits before it acts.
    """

    kind: str
    status: int = 500
    seconds: float = 0.0


#: Gives the fault of a request from its method and path; None lets it through.
Choice = Callable[[str, str], "Fault | None"]


class Proxy:
    """Passes requests on to ``target``, and as ``choose`` says, does not.

    The server sees the client's own ``Host``, so signatures hold.
    """

    def __init__(self, target: str) -> None:
        where = urlsplit(target)
        self.choose: Choice = lambda method, path: None
        self.seen: Counter[str] = Counter()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (OSError, ValueError):  # the client has gone
                    self.close_connection = True

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.choose(self.command, self.path)
                proxy.seen[fault.kind if fault else "none"] += 1
                if fault is not None:
                    if fault.kind == "delay":
                        time.sleep(fault.seconds)
                    elif fault.kind == "refuse":
                        self.close_connection = True
                        return
                    elif fault.kind == "status":
                        self.refuse(fault.status)
                        return
                try:
                    status, headers, answer = self.ask(body)
                except (OSError, http.client.HTTPException):  # the server is down
                    self.close_connection = True
                    return
                if fault is not None and fault.kind == "drop":
                    self.close_connection = True
                    return
                if fault is not None and fault.kind == "status after":
                    self.refuse(fault.status)
                    return
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                if self.command == "HEAD":
                    length = {n.lower(): v for n, v in headers}.get("content-length", "0")
                    self.send_header("Content-Length", length)
                elif status not in (204, 304):
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if fault is not None and fault.kind == "cut":
                    self.wfile.write(answer[: len(answer) // 2])
                    self.close_connection = True
                else:
                    self.wfile.write(answer)

            def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                server = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
                try:
                    server.putrequest(
                        self.command, self.path, skip_host=True, skip_accept_encoding=True
                    )
                    for name, value in self.headers.items():
                        if name.lower() not in ("connection", "expect"):
                            server.putheader(name, value)
                    server.endheaders(body)
                    answer = server.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                finally:
                    server.close()

            def refuse(self, status: int) -> None:
                text = (
                    b"" if self.command == "HEAD" else _ERROR.format(code=_CODES[status]).encode()
                )
                self.send_response_only(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = pass_on

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that hung up

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        # It looks so often whether it shall end.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
