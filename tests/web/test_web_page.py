"""The page that matches in a browser: served, written, and tried in Chromium where it is there."""

import json
import os
import pathlib
import shutil
import subprocess
import threading
import urllib.request

import numpy as np
import pytest
from PIL import Image

from astr_jax.cli import main, served_page
from astr_jax.cli.served_page import PAGE, page_server
from astr_jax.params import Params

ROOT = pathlib.Path(__file__).parents[2]
WEB = ROOT / "web"


@pytest.fixture
def page(tmp_path):
    """A page of two files."""
    (tmp_path / "index.html").write_text("<p>here")
    (tmp_path / "ort.wasm").write_bytes(b"\0asm")
    return tmp_path


def test_the_page_is_served_with_the_headers_that_threads_need(page):
    with page_server(0, page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == b"<p>here"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with urllib.request.urlopen(address + "ort.wasm") as answer:
            assert answer.headers["Content-Type"] == "application/wasm"
        server.shutdown()


def test_a_page_that_is_not_built_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(served_page, "page_server", lambda port: page_server(port, tmp_path))
    assert main(["demo", "--web"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("astr demo: the page is not built here.")
    assert "make web" in err
    assert len(err.splitlines()) == 1


def test_what_the_page_needs_is_written(nano_config, nano_variables, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    from astr_jax.export import web_files
    from astr_jax.export.agreement import Agreement
    from astr_jax.export.exported import Exported
    from astr_jax.types import Matches

    def written(params, folder, **_):
        folder.mkdir()
        for name in (*web_files.GRAPHS, "match"):
            (folder / f"{name}.onnx").write_bytes(name.encode())
        return Exported((), Agreement(same=1.0, largest=0.0, counts=(1, 1)))

    class Matcher:
        def __init__(self, folder):
            assert (folder / "match.onnx").is_file()
            self.graphs = type("Graphs", (), {"about": ABOUT, "threshold": 0.9})

        def match(self, left, right):
            points, one = np.array([[8.0, 16.0]], np.float32), np.ones(1, np.float32)
            cells = np.zeros(1, np.int32)
            covariance = np.eye(2, dtype=np.float32)[None]
            return Matches(points, points + 1, one, covariance, one, cells, cells, one > 0)

    ABOUT = {"version": "1.0", "weights": "float32"}
    monkeypatch.setattr(web_files, "export_onnx", written)
    monkeypatch.setattr(web_files, "OnnxMatcher", Matcher)
    picture = np.full((64, 96, 3), 7, np.uint8)
    folder = tmp_path / "model"
    params = Params(nano_variables, nano_config)
    done = web_files.export_web(
        params, folder, size=(64, 96), pair=(), example=(picture, picture), note="For all."
    )
    assert {file.name for file in done.files} == {file.name for file in folder.iterdir()}
    assert not (folder / "match.onnx").exists()
    about = json.loads((folder / "about.json").read_text())
    assert (about["size"], about["threshold"], about["licence"]) == ([64, 96], 0.9, "For all.")
    assert about["graphs"] == {"encode": 6, "coarse": 6, "fine": 4, "polish": 6}  # bytes
    example = json.loads((folder / "example.json").read_text())
    assert example["keypoints1"] == [[9.0, 17.0]]
    assert example["sigma"] == [1.0]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "left.png")), picture)


def test_the_lock_file_names_no_registry():
    held = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert len(held) > 10
    assert not [name for name, package in held.items() if "resolved" in package]


def test_the_page_in_chromium_matches_as_python_does():
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        pytest.skip("needs chromium, or CHROMIUM=its path")
    if not (WEB / "node_modules" / "playwright-core").is_dir() or not shutil.which("npm"):
        pytest.skip("needs the packages of npm: make web")
    if not (PAGE / "index.html").is_file():
        pytest.skip("needs the page: make web")
    done = subprocess.run(
        ["npm", "run", "test:browser"],
        cwd=WEB,
        env={**os.environ, "CHROMIUM": chromium, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
