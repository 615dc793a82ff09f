# `make demo` runs the main job, `make test` passes the tests; both first install what they need into .venv.
# With ROS=kilted they do so under ROS 2 Kilted, in .venv-kilted.

PYTHON ?= python3
ROS := jazzy
SUFFIX := $(patsubst %,-%,$(filter-out jazzy,$(ROS)))
VENV := .venv$(SUFFIX)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
EXTRAS := render,torch,train,evaluate,bags,onnx,openvino,tensorrt-rtx,transformers,bench,completion,dev
MESSAGES := $(wildcard msg/*.msg srv/*.srv action/*.action)
# The install is a copy, which is made again when one of these changes.
SOURCES := $(shell find ovps_core ovps_ros training launch config -type f -not -name '*.pyc')

.PHONY: demo test check clean

demo: $(INSTALLED)
	$(BIN)/python -m ovps_ros.tools.demo --out out/demo
	$(BIN)/python -m ovps_ros.tools.demo --recorded --out out/demo-recorded

# Several processes share the cores; threads of PyTorch that spin between operations would slow all of them.
# The tests of a file share engines, scenes and nodes, so they stay in one worker.  pytest-xdist may wait for ever after
# a worker that crashed was replaced, so none is.
test: $(INSTALLED)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --max-worker-restart 0

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports
	$(BIN)/python -m pytest -q --doctest-modules ovps_core

$(INSTALLED): pyproject.toml setup.py CMakeLists.txt package.xml $(MESSAGES) $(SOURCES)
	PYTHON="$(PYTHON)" ./scripts/system_packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group ros$(SUFFIX)-build
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --no-build-isolation ".[$(EXTRAS)]"
	touch $@

clean:
	rm -rf .venv .venv-* build out runs *.egg-info
