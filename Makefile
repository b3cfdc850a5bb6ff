PYTHON ?= python3
BIN := .venv/bin
LEVEL ?= B-LT

.PHONY: environment sign gateway check test faults bench corpus reference docs lock

environment:
	@$(PYTHON) tools/bootstrap.py

# Sign a PDF in the sandbox: make sign PDF=path/to/file.pdf [OUT=signed.pdf] [LEVEL=B-LT]
sign: environment
	@$(BIN)/python tools/sign.py "$(PDF)" "$(OUT)" "$(LEVEL)"

# The service's sandbox and the gateway together on loopback, until Ctrl-C: make gateway [FOLDER=…]
gateway: environment
	@$(BIN)/python tools/frontend.py --optional
	@$(BIN)/python tools/gateway.py $(FOLDER)

check: environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy packages/*/src tools
	$(BIN)/lint-imports
	$(BIN)/python tools/deptry.py
	$(BIN)/python tools/size_gate.py

# Installs the independent judges if it may, then runs every test and the coverage gate.
test: environment
	@$(BIN)/python tools/judges.py
	@$(BIN)/python tools/frontend.py
	$(BIN)/python tools/test.py

# Kill replicas and database at random for a long while; `make test` has a short form of it.
faults: environment
	@$(BIN)/python tools/judges.py
	HASHSEAL_FAULT_KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest -q -s tests/faults

# What is measured against its limit and beside peers, in one table; about ten minutes.
bench: environment
	@$(BIN)/python tools/judges.py
	@$(BIN)/python bench/run.py all $(TABLE)

corpus: environment
	@$(BIN)/python tools/corpus.py $(CORPUS)

reference: environment
	@$(BIN)/python tools/reference.py

# HTML and the two PDF manuals, into build/docs; Chromium prints the manuals.
docs: environment
	@$(BIN)/python tools/judges.py
	@$(BIN)/python tools/manual.py

lock: environment
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/lock.sh
