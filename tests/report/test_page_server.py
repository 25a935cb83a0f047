"""Pages are served to this machine alone, and nothing but pages."""

import socket
import struct
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from spine_models.report.page_server import PageServer


@pytest.fixture
def served(tmp_path):
    out = tmp_path / "out"
    (out / "studies").mkdir(parents=True)
    (out / "0").mkdir()
    (out / "index.html").write_text("<p>index")
    (out / "studies" / "1.2.html").write_text("<p>study")
    (out / "0" / "1.2_axial.png").write_bytes(b"png")
    (out / "0" / "1.2_mask.nii.gz").write_bytes(b"mask")
    (out / "0" / "1.2.json").write_text("{}")
    (out / "predictions.csv").write_text("a\n")
    (out / "inventory.csv").write_text("JANE DOE\n")
    (out / ".hidden.html").write_text("hidden")
    (tmp_path / "outside.html").write_text("outside")
    (out / "link.html").symlink_to(tmp_path / "outside.html")
    (out / "linked").symlink_to(tmp_path)
    with PageServer(out) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def get(server, path, host=None):
    request = urllib.request.Request(f"http://{server.host}{path}", headers={"Host": host or server.host})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def test_pages_pictures_masks_and_tables_are_served(served):
    assert get(served, urlsplit(served.address).path)[:2] == (200, b"<p>index")
    base = f"/{served.token}"
    assert get(served, f"{base}/studies/1.2.html")[1] == b"<p>study"
    status, content, headers = get(served, f"{base}/0/1.2_axial.png")
    assert (status, content, headers["Content-Type"]) == (200, b"png", "image/png")
    assert headers["Cache-Control"] == "no-store"
    assert get(served, f"{base}/0/1.2_mask.nii.gz")[0] == 200
    assert get(served, f"{base}/predictions.csv?x=1")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/studies/",
        "/inventory.csv",
        "/0/1.2.json",
        "/.hidden.html",
        "/link.html",
        "/linked/outside.html",
        "/../outside.html",
        "/%2e%2e/outside.html",
        "/..%2foutside.html",
        "/studies/../../outside.html",
        "//etc/passwd",
        "/nothing.html",
        "/index.html%00.png",
    ],
)
def test_nothing_else_is(served, path):
    status, content, _ = get(served, f"/{served.token}{path}")
    assert status == 404
    assert b"outside" not in content
    assert b"DOE" not in content


def test_who_does_not_know_the_word_gets_nothing(served):
    assert get(served, "/index.html")[0] == 404
    assert get(served, f"/{'x' * len(served.token)}/index.html")[0] == 404


def test_a_request_under_another_name_gets_nothing(served):
    assert get(served, f"/{served.token}/index.html", host="evil.example")[0] == 404


def test_it_listens_on_the_loopback_interface_alone(served):
    assert served.socket.getsockname()[0] == "127.0.0.1"
    assert served.socket.family == socket.AF_INET
    with PageServer(served.folder) as other:
        assert other.token != served.token
        assert other.host != served.host


def test_a_browser_that_leaves_gets_no_trace_and_a_file_that_is_gone_no_page(served, capfd, monkeypatch):
    large = served.folder / "large.png"
    large.write_bytes(bytes(50_000_000))
    word = urlsplit(served.address).path.split("/")[1]
    with socket.create_connection(("127.0.0.1", served.server_address[1])) as client:
        client.sendall(f"GET /{word}/large.png HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    monkeypatch.setattr(served, "path_of", lambda address: served.folder / "gone.png")
    assert get(served, f"/{word}/gone.png")[0] == 404
    served.server_close()  # waits for no thread that is not done
    assert "Traceback" not in capfd.readouterr().err
