from spine_models.training.progress import Board, Stopwatch, epoch_line, memory_figures


def test_the_stopwatch_divides_waiting_from_working(monkeypatch):
    times = iter([0.0, 3.0, 4.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    watch = Stopwatch()
    for _ in range(2):
        watch.data_came(4)
        watch.work_done()
    assert watch.take(2) == {"images_per_second": 2.286, "data_wait_share": 0.1429, "training_seconds": 7.0}


def test_an_epoch_is_one_line_of_the_log():
    row = {"epoch": 1, "step": 20, "loss": 0.51234567, "skipped_steps": 0}
    run = {"images_per_second": 2.286, "data_wait_share": 0.1429}
    said = epoch_line("segmentation", 40, row, run)
    assert said == ("segmentation: epoch 2/40: loss 0.5123; 2.286 images/s, 0.1429 of the time waiting for data")


def test_memory_is_that_of_this_process():
    assert 10 << 20 < memory_figures()["memory_bytes"] < 1 << 40


def test_nothing_is_written_until_there_is_something_to_show(tmp_path):
    Board(tmp_path / "tensorboard").close()
    assert not (tmp_path / "tensorboard").exists()
