# Everything here works from a fresh clone: the virtual environment makes itself.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LANES  ?= -n 2 --dist loadgroup --no-loadscope-reorder
STAMP  := $(VENV)/.recorderd-$(shell cat setup.cfg pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: help run test test-slow lint bench install clean system-packages

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile

$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip setuptools
	$(BIN)/python -m pip install -qq --editable '.[test,lint]'
	@rm -f $(VENV)/.recorderd-*
	@touch $@

system-packages:
	@tests/system-packages

run: $(STAMP)  ## record two simulated cameras under ./var (CAMERA=rtsp://host/path adds a real one)
	@$(BIN)/python -m recorderd.demo $(if $(CAMERA),--camera '$(CAMERA)')

test: $(STAMP) system-packages  ## the whole test suite in two lanes, with its own set-up (LANES= for one)
	$(BIN)/python -m pytest -m 'not slow and not uml and not target' $(LANES) $(PYTEST_ARGS)

test-slow: $(STAMP) system-packages  ## the rungs that take long
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, the floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) system-packages  ## ratios against peers, into tests/bench/results.md
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) build dist *.egg-info

DESTDIR ?=
PREFIX  ?= /usr

install:  ## units, users and configuration below DESTDIR (the Python packages come by pip or a distribution's package)
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system systemd/*.service systemd/*.socket $(wildcard systemd/*.timer)
	install -D -m 755 -t $(DESTDIR)$(PREFIX)/lib/recorderd systemd/recorderd-network-guard systemd/recorderd-dhcp-event \
		systemd/recorderd-resolv systemd/recorderd-clock
	install -D -m 644 config/polkit/50-recorderd.rules $(DESTDIR)$(PREFIX)/share/polkit-1/rules.d/50-recorderd.rules
	install -D -m 644 config/recorderd-network.conf $(DESTDIR)$(PREFIX)/share/recorderd/recorderd-network.conf
	install -D -m 644 systemd/recorderd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/recorderd.conf
	install -D -m 644 systemd/recorderd.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/recorderd.conf
	install -D -m 644 config/recorderd.toml $(DESTDIR)/etc/recorderd/recorderd.toml
