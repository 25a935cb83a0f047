"""A prediction where there is no network: no connection but to this machine is tried."""

from tests.without_network import run_watched


def test_a_prediction_tries_no_connection(phantom, bundle_folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["-m", "spine_models", "predict", "--bundle", bundle_folder, "--out", out]
    arguments += ["--studies", phantom / "test_images", "--device", "cpu", "--threads", "1"]
    process, tried = run_watched(arguments, tmp_path)
    assert (out / "predictions.csv").is_file(), process.stderr[-2000:]
    assert tried == []


def test_a_connection_that_is_tried_is_seen(tmp_path):
    code = "import socket\nfor host in ('192.0.2.1', '127.0.0.1'): socket.socket().connect_ex((host, 80))"
    _, tried = run_watched(["-c", code], tmp_path)
    assert len(tried) == 1
    assert "192.0.2.1" in tried[0]
