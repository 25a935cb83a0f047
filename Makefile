PYTHON ?= python3.11
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo | test | lint | bench | chaos | fuzz | test-slurm | prune-state   (README.md says what each does)"

# torch brings what its build needs (the CUDA build its nvidia packages); everything else comes from the
# complete lock without a resolver, since mmcv, mmengine and mmaction2 ask for two other OpenCV wheels.
.venv: requirements.lock
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv
