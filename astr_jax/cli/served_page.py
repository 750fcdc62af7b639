"""The page that matches in a browser, served on this machine, for astr demo --web."""

import functools
import http.server
import pathlib
import sys
import types

PAGE = pathlib.Path(__file__).parents[1] / "page"  # what make web builds
HOST = "127.0.0.1"
ISOLATION = types.MappingProxyType(  # without these headers a browser gives no threads
    {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
    }
)
TYPES = types.MappingProxyType({".mjs": "text/javascript", ".wasm": "application/wasm"})


class PageHandler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, with the headers that threads need; it says nothing."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | TYPES

    def end_headers(self):
        """Adds the headers."""
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_):
        """Nothing: the terminal has the address, and stays readable."""


def page_server(port: int, page: pathlib.Path = PAGE) -> http.server.ThreadingHTTPServer:
    """A server of the built page, which listens; port 0 takes any that is free.

    Raises FileNotFoundError where the page was not built, OSError for a port in use.
    """
    if not (page / "index.html").is_file():
        raise FileNotFoundError(
            "the page is not built here. In a clone of the repository make web builds it; it needs "
            "Node.js 20 or newer, with npm."
        )
    handler = functools.partial(PageHandler, directory=str(page))
    return http.server.ThreadingHTTPServer((HOST, port), handler)


def serve_page(port: int) -> None:
    """Serves the page until Ctrl-C."""
    with page_server(port) as server:
        print(f"http://{HOST}:{server.server_port}/ matches two pictures; Ctrl-C ends it.")
        sys.stdout.flush()
        server.serve_forever()
