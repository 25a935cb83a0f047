# The newest supported Python that is found and starts.
PYTHON ?= $(firstword $(foreach version,3.13 3.12 3.11,$(shell python$(version) -c 'print("python$(version)")' 2>/dev/null)))
BIN := .venv/bin
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help

.PHONY: help
help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# Everything comes from the complete lock without a resolver, since mmcv, mmengine and mmaction2 ask for two other OpenCV
# wheels. torch is pinned apart: its builds have hashes of their own, and the CUDA build brings its nvidia packages.
.venv: requirements.lock requirements-torch.txt
	@test -n "$(PYTHON)" || { echo "error: found no Python 3.11, 3.12 or 3.13: install one, or name it (make PYTHON=/path/to/python3.12)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { echo "error: $(PYTHON) is not there, or not Python 3.11, 3.12 or 3.13: name one of these (make PYTHON=/path/to/python3.12)" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --requirement requirements-torch.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch .venv

.PHONY: demo
demo: .venv ## generate phantoms, run every rule on the CPU, print the metrics and the report's path
	$(BIN)/snakemake --configfile presets/demo.yaml
	@$(BIN)/spine-models summary demo

.PHONY: screenshots
screenshots: .venv ## take the pictures of the pages from a finished demo (RUN=demo; needs Debian's chromium)
	$(BIN)/python -m tools.screenshots $(or $(RUN),demo) --out docs/pictures

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
chaos: .venv ## damage files, let calls fail and kill jobs of every rule, and compare the results (FAULTS=60, SEED=0)
	$(BIN)/python -m tests.faults.campaign --faults $(or $(FAULTS),60) --seed $(or $(SEED),0)

.PHONY: kills
kills: .venv ## kill trainings at random, at every step, and compare what they end with (KILLS=20)
	$(BIN)/python -m benchmarks.chaos --kills $(or $(KILLS),20)

.PHONY: test-slurm
test-slurm: .venv ## run the tiny preset on a real single-node Slurm (needs Debian's slurm and munge packages)
	$(BIN)/python -m pytest tests/slurm --run-slurm -v

.PHONY: fuzz
fuzz: .venv ## read damaged files until something breaks (N=5000 cases, a few minutes; SEED=0)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.fuzz.run_fuzz --cases $(or $(N),5000) --seed $(or $(SEED),0)

# mutmut goes into a folder of its own: nothing else needs it, and the environment stays as the lock says.
.PHONY: mutants
mutants: .venv ## change the method's arithmetic, count what the tests catch (MODULE="windows boxes"; all take an hour or two)
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/mutants/tool --requirement requirements-mutants.txt
	$(BIN)/python -m benchmarks.mutants $(MODULE)

# So does pdoc.
.PHONY: docs
docs: .venv ## write pages of all modules and documents (build/docs/pages)
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/docs/tool --requirement requirements-docs.txt
	$(BIN)/python -m tools.api_pages

# And coverage. ARGUMENTS choose tests; without any, all run and docs/coverage.md is written.
.PHONY: coverage
coverage: .venv ## run the tests and show which lines and branches they reach (ARGUMENTS="tests/data -n 2")
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/coverage/tool --requirement requirements-coverage.txt
	$(BIN)/python -m benchmarks.coverage $(ARGUMENTS)

.PHONY: wheel
wheel: .venv ## build the wheel, which holds the library and the workflow (dist/)
	rm -rf build/lib build/bdist.*
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# Sources become wheels here, so that the other machine needs no compiler.
.PHONY: wheelhouse
wheelhouse: wheel ## collect all wheels of the lock for a machine without network (dist/wheelhouse/)
	rm -rf dist/wheelhouse
	mkdir -p build
	sed -nE 's/^([^ ]+==[^ ]+).*/\1/p' requirements.lock > build/constraints.txt
	$(BIN)/pip wheel --quiet --no-deps --require-hashes --wheel-dir dist/wheelhouse --requirement requirements.lock
	$(BIN)/pip wheel --quiet --constraint build/constraints.txt --wheel-dir dist/wheelhouse --requirement requirements-torch.txt
	cp dist/spine_models-*.whl dist/wheelhouse

BUILDER ?= $(firstword $(foreach builder,buildah podman docker,$(shell command -v $(builder))))

.PHONY: container
container: wheelhouse ## build the image spine_models (BASE=debian:bookworm-slim; needs buildah, podman or docker)
	@test -n "$(BUILDER)" || { echo "error: found no buildah, podman or docker: install one" >&2; exit 1; }
	$(BUILDER) build --file Containerfile --build-arg BASE=$(or $(BASE),debian:bookworm-slim) --tag spine_models .

# The suite runs on one Python; before a release, the wheel is installed and used on the others that are there.
.PHONY: test-all
test-all: test wheel ## all tests; then the wheel on the other Pythons, and the container where it was built
	$(BIN)/python -m tools.try_wheel dist/spine_models-*.whl $(OTHERS)
	$(BIN)/python -m tools.try_container

.PHONY: release
release: .venv ## write the version, commit, tag and build the wheel (VERSION=1.2.0); pushes nothing
	@$(BIN)/python -m tools.release "$(VERSION)"

.PHONY: prune-state
prune-state: .venv ## remove the states of trainings that nothing uses any more (OUTPUT=results)
	$(BIN)/spine-models prune-state $(or $(OUTPUT),results)

.PHONY: reach
reach: .venv ## write which modules are part of which rules' keys (tests/provenance/reach.csv)
	$(BIN)/python -m tests.provenance.reach

# What conda installs is the lock: written anew after a change of it (a test says when that was forgotten).
.PHONY: envs
envs: ## write the lock into the conda environment's post-deploy script
	sed -i -e "s/'torch==.*'/'$$(cat requirements-torch.txt)'/" \
		-e "/^cat > /,/^LOCK$$/{/^cat > /{p;r requirements.lock" -e "};/^LOCK$$/p;d}" envs/spine_models.post-deploy.sh

# uv goes into a folder of its own: it only asks the package index, and nothing else needs it.
.PHONY: lock
lock: .venv ## write the hashes of the lock anew after a version in it changed
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/lock uv==0.13.9
	$(BIN)/python -m tools.lock build/lock/bin/uv
	$(MAKE) envs
