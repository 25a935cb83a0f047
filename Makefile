PYTHON ?= python3.11
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# torch brings what its build needs (the CUDA build its nvidia packages); everything else comes from the
# complete lock without a resolver, since mmcv, mmengine and mmaction2 ask for two other OpenCV wheels.
.venv: requirements.lock
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv

.PHONY: demo
demo: .venv ## generate phantoms, run every rule on the CPU, print the metrics and the report's path
	$(BIN)/snakemake --configfile presets/demo.yaml
	@$(BIN)/spine-models summary demo

# One worker more than there are cores: a test that runs a workflow or kills a process waits for a part of its time.
.PHONY: test
test: .venv ## run the whole test suite
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $$(($$(nproc) + 1)) --dist loadgroup

.PHONY: lint
lint: .venv ## run all static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports

.PHONY: bench
bench: .venv ## run all benchmarks, print a table of ratios, write benchmarks/results.json
	$(BIN)/python -m benchmarks

.PHONY: chaos
chaos: .venv ## kill trainings at random and compare what they end with (KILLS=20)
	$(BIN)/python -m benchmarks.chaos --kills $(or $(KILLS),20)

.PHONY: test-slurm
test-slurm: .venv ## run the tiny preset on a real single-node Slurm (needs Debian's slurm and munge packages)
	$(BIN)/python -m pytest tests/slurm --run-slurm -v

.PHONY: fuzz
fuzz: .venv ## read damaged files until something breaks (N=5000 cases, a few minutes; SEED=0)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run_fuzz --cases $(or $(N),5000) --seed $(or $(SEED),0)

# mutmut goes into a folder of its own: nothing else needs it, and the environment stays as the lock says.
.PHONY: mutants
mutants: .venv ## change the method's arithmetic, count what the tests catch (MODULE="windows boxes"; all take two hours)
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/mutants/tool --requirement requirements-mutants.txt
	$(BIN)/python -m benchmarks.mutants $(MODULE)

.PHONY: prune-state
prune-state: .venv ## remove the states of trainings that nothing uses any more (OUTPUT=results)
	$(BIN)/spine-models prune-state $(or $(OUTPUT),results)

.PHONY: reach
reach: .venv ## write which modules are part of which rules' keys (tests/provenance/reach.csv)
	$(BIN)/python -m tests.provenance.reach

# What conda installs is the lock: written anew after a change of it (a test says when that was forgotten).
.PHONY: envs
envs: ## write the lock into the conda environment's post-deploy script
	sed -i -e "/^cat > /,/^LOCK$$/{/^cat > /{p;r requirements.lock" -e "};/^LOCK$$/p;d}" envs/spine_models.post-deploy.sh
