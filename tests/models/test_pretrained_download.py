"""Fetching a checkpoint from a server that fails, breaks off and serves the wrong file."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from spine_models.errors import UserError
from spine_models.models.pretrained_download import Retries, fetch, locate
from spine_models.models.published import PUBLISHED

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = f"weights_20210617-{SHA256[:8]}.pth"
QUICK = Retries(attempts=4, wait_s=0.0)


class Server:
    """Serves ``content`` with ranges; each fault in ``faults`` spoils one request."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.faults: list[str] = []
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/folder"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        fault = self.faults.pop(0) if self.faults else ""
        if fault.isdigit():
            handler.send_error(int(fault))
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start and start >= len(self.content):
            handler.send_error(416)
            return
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2] if fault == "break" else body)


@pytest.fixture
def server():
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.http.shutdown()
    thread.join()
    served.http.server_close()


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "pretrained" / NAME


def assert_complete(out: Path) -> None:
    assert out.read_bytes() == CONTENT
    record = out.with_name(f"{NAME}.sha256")
    assert record.read_text(encoding="utf-8") == f"{SHA256}  {NAME}\n"
    assert sorted(out.parent.iterdir()) == sorted([out, record])


def part_of(out: Path) -> Path:
    return out.with_name(f".{NAME}.part")


def test_a_folder_of_a_server(server, out):
    assert fetch(NAME, out, server.url, QUICK) == SHA256
    assert server.requests == [(f"/folder/{NAME}", None)]
    assert_complete(out)


def test_the_url_of_the_file_itself(server, out):
    fetch(NAME, out, f"{server.url}/other.pth", QUICK)
    assert server.requests == [("/folder/other.pth", None)]
    assert_complete(out)


@pytest.mark.parametrize("faults", [["500"], ["503", "429", "500"]])
def test_temporary_failures_are_tried_again(server, out, faults):
    server.faults = list(faults)
    fetch(NAME, out, server.url, QUICK)
    assert len(server.requests) == len(faults) + 1
    assert_complete(out)


def test_a_broken_connection_is_continued_where_it_broke(server, out):
    server.faults = ["break", "500", "break"]
    fetch(NAME, out, server.url, QUICK)
    half = len(CONTENT) // 2
    assert [wanted for _, wanted in server.requests] == [
        None,
        f"bytes={half}-",
        f"bytes={half}-",
        f"bytes={half + half // 2}-",
    ]
    assert_complete(out)


def test_a_server_without_ranges_starts_again(server, out):
    server.ranges = False
    server.faults = ["break"]
    fetch(NAME, out, server.url, QUICK)
    assert_complete(out)


def test_an_interrupted_download_is_never_the_output_and_the_next_run_continues(server, out):
    server.faults = ["break", "500", "500", "500"]
    with pytest.raises(UserError, match="could not be fetched"):
        fetch(NAME, out, server.url, QUICK)
    assert not out.exists()
    assert part_of(out).read_bytes() == CONTENT[: len(CONTENT) // 2]
    fetch(NAME, out, server.url, QUICK)
    assert server.requests[-1][1] == f"bytes={len(CONTENT) // 2}-"
    assert_complete(out)


@pytest.mark.parametrize("left", [CONTENT, b"x" * 1000, b"x" * (len(CONTENT) + 5)], ids=["all", "foreign", "longer"])
def test_what_an_earlier_run_left_is_completed_or_replaced(server, out, left):
    out.parent.mkdir()
    part_of(out).write_bytes(left)
    fetch(NAME, out, server.url, QUICK)
    assert_complete(out)


def test_a_missing_file_is_not_asked_for_twice(server, out):
    server.faults = ["404"] * 4
    with pytest.raises(UserError, match=r"404 .* none to train from scratch"):
        fetch(NAME, out, server.url, QUICK)
    assert len(server.requests) == 1


def test_no_server(server, out):
    url = server.url
    server.http.server_close()
    with pytest.raises(UserError, match="could not be fetched"):
        fetch(NAME, out, url, Retries(2, 0.0))


def test_a_file_that_is_not_the_one_in_the_name(server, out):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(UserError, match=f"should have {SHA256[:8]}"):
        fetch(NAME, out, server.url, QUICK)
    assert list(out.parent.iterdir()) == []


def test_the_recorded_digest_binds_the_next_fetch(server, out):
    """The eight digits alone are easily forged; a person may also write the record beforehand."""
    out.parent.mkdir()
    record = out.with_name(f"{NAME}.sha256")
    record.write_text(f"{SHA256[:8]}{'0' * 56}  {NAME}\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"should have {SHA256[:8]}0000"):
        fetch(NAME, out, server.url, QUICK)
    assert not out.exists()
    record.write_text(f"{SHA256}\n", encoding="utf-8")
    fetch(NAME, out, server.url, QUICK)
    assert_complete(out)


@pytest.mark.parametrize("text", ["", "0" * 64])
def test_a_record_that_contradicts_the_name(server, out, text):
    out.parent.mkdir()
    out.with_name(f"{NAME}.sha256").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="correct or remove it"):
        fetch(NAME, out, server.url, QUICK)


@pytest.mark.parametrize(
    "source",
    [
        str,
        lambda path: str(path.parent),
        lambda path: path.as_uri(),
        lambda path: path.parent.as_uri(),
    ],
    ids=["path", "folder", "file URL", "folder URL"],
)
def test_local_sources(tmp_path, out, source: Callable[[Path], str]):
    local = tmp_path / "own files" / NAME
    local.parent.mkdir()
    local.write_bytes(CONTENT)
    fetch(NAME, out, source(local))
    assert_complete(out)


def test_a_local_file_that_is_missing_or_damaged(tmp_path, out):
    with pytest.raises(UserError, match="does not exist"):
        fetch(NAME, out, str(tmp_path / "nowhere"))
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="should have"):
        fetch(NAME, out, str(tmp_path))


def test_a_name_without_digits(tmp_path):
    with pytest.raises(UserError, match="eight digits"):
        fetch("weights.pth", tmp_path / "weights.pth", str(tmp_path))


def test_an_unknown_kind_of_source():
    with pytest.raises(UserError, match="s3://bucket is neither"):
        locate(NAME, "s3://bucket")


def test_the_model_zoo_has_the_three_checkpoints_of_the_method():
    segmentation, ir, ip = (PUBLISHED[name].file for name in ("ircsn-50", "ircsn-152", "ipcsn-152"))
    assert segmentation.endswith("r50_32x2x1_58e_kinetics400_rgb_20210617-86d33018.pth")
    assert ir.endswith("-fc66ce8d.pth")
    assert ip.endswith("-c3be9793.pth")
    zoo = "https://download.openmmlab.com/mmaction/recognition/csn"
    assert locate(segmentation, "model_zoo") == f"{zoo}/vmz/{segmentation}"
    assert locate(ir, "model_zoo") == f"{zoo}/ircsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb/{ir}"
    assert len(PUBLISHED) == 3
    with pytest.raises(UserError, match="the model zoo has no"):
        locate(NAME, "model_zoo")


def test_a_second_process_stops_with_a_sentence(tmp_path, out):
    import fcntl

    out.parent.mkdir()
    (tmp_path / NAME).write_bytes(CONTENT)
    with part_of(out).open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="being written by another process"):
            fetch(NAME, out, str(tmp_path))


def test_the_script(server, out):
    script = Path(__file__).parents[2] / "workflow_scripts" / "fetch_pretrained.py"
    arguments = ["--config", json.dumps({"source": server.url}), "--name", NAME, "--out", str(out)]
    done = subprocess.run([sys.executable, script, *arguments], check=True, capture_output=True, text=True)
    assert SHA256 in done.stderr
    assert_complete(out)


def test_the_script_ends_in_a_sentence(tmp_path, out):
    script = Path(__file__).parents[2] / "workflow_scripts" / "fetch_pretrained.py"
    arguments = ["--config", json.dumps({"source": str(tmp_path / "nowhere")}), "--name", NAME, "--out", str(out)]
    done = subprocess.run([sys.executable, script, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    start, sentence = done.stderr.splitlines()
    assert start.startswith("fetch_pretrained starts on ")
    assert sentence.startswith("error: ")
