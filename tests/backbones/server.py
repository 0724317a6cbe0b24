"""A real HTTP server on loopback that misbehaves on demand, for the weights tests."""

import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Misbehaving(BaseHTTPRequestHandler):
    """Serves `server.content`; `server.script` says what goes wrong, a word a request, then all goes well."""

    def do_GET(self):
        server = self.server
        with server.lock:
            mood = server.script.pop(0) if server.script else server.then
            server.requests.append((mood, self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        getattr(self, mood, None)() if hasattr(self, mood) else self.status(int(mood))

    def status(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def fine(self, content=None, limit=None, ranges=True, length=None, pace=0.0, validator='"v1"'):
        content = self.server.content if content is None else content
        start = 0
        asked = self.headers.get("Range")
        if asked and ranges and self.headers.get("If-Range") == validator:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(content):
                return self.status(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(length or len(content) - start))
        if validator:
            self.send_header("ETag", validator)
        self.end_headers()
        body = content[start:][:limit]
        try:
            for i in range(0, len(body), 4096):
                self.wfile.write(body[i : i + 4096])
                time.sleep(pace)
        except OSError:
            pass
        return None

    def drops(self):
        """Closes the connection in the middle."""
        self.fine(limit=len(self.server.content) // 2)
        self.close_connection = True

    def hangs_up(self):
        """Closes before a word is said."""
        self.close_connection = True

    def stalls(self):
        """Sends a part, then nothing for long."""
        self.fine(limit=len(self.server.content) // 2)
        self.server.released.wait(20)

    def promises_less(self):
        """States a length below the true one."""
        self.fine(length=len(self.server.content) // 2)

    def wrong(self):
        """Other bytes, as a sign-in page would."""
        self.fine(content=b"<html>please sign in</html>" * 50)

    def changed_drops(self):
        """A new version of the file under a new tag, broken off."""
        self.fine(content=b"x" * len(self.server.content), limit=5000, validator='"v2"')

    def no_ranges(self):
        """Ignores the Range header."""
        self.fine(ranges=False)

    def no_tag(self):
        self.fine(limit=len(self.server.content) // 2, validator=None)

    def slow(self):
        self.fine(pace=0.05)

    def log_message(self, *_):
        pass


@contextmanager
def serving(content, *script, then="fine"):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    server.daemon_threads = True
    server.content, server.script, server.then, server.requests = content, list(script), then, []
    server.lock, server.released = threading.Lock(), threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
