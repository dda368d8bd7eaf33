# Needs Python 3.10 or newer and nothing else: nox, and what it installs, live in .venv and .nox.
PYTHON ?= python3
NOX = .venv/bin/nox

.PHONY: demo test soak lint bench clean

demo: $(NOX)
	@echo "== preparing the demo's environment (a minute or two the first time)"
	@$(NOX) -s demo -- $(ARGS)

test: $(NOX)
	@echo "== preparing the test environments (a minute or two the first time)"
	@$(NOX) -s lint test $(if $(ARGS),,prefect airflow) -- $(ARGS)

soak: $(NOX)
	@$(NOX) -s test -- tests/process/test_soak.py -s --soak-seconds 600 $(ARGS)

lint: $(NOX)
	@$(NOX) -s lint

bench: $(NOX)
	@$(NOX) -s bench -- $(ARGS)

clean:
	rm -rf .venv .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis s3kv-demo

$(NOX):
	@echo "== installing nox into .venv"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check "nox>=2025.2.9" "uv>=0.5"
