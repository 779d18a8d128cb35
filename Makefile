# SPDX-License-Identifier: GPL-2.0-or-later
#
# The front door; meson and ninja do the work.
#
#   make                 builds build/reeve
#   sudo make demo       shows it at work, in network namespaces of its own
#   sudo make check      runs every test (without root, those that need it are skipped)
#   sudo make check-kernels   boots Debian's older kernels under QEMU and tests there
#   sudo make bench      prints figures beside other filters
#   make fuzz            fuzzes for FUZZ_SECONDS, split over the targets
#   make update-golden   writes the expected outputs in tests/golden anew
#   make install         into DESTDIR, under PREFIX
#
# demo, check, bench and fuzz install missing Debian packages first (scripts/install-packages).

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 600
SUITES ?=

all: build/build.ninja
	@ninja -C build

build/build.ninja:
	meson setup --prefix=$(PREFIX) build

# Warnings are errors in build/ alone: gcc's differ under the sanitizers, and clang has others.
build-asan/build.ninja:
	meson setup -Db_sanitize=address,undefined -Dwerror=false build-asan

build-fuzz/build.ninja:
	CC=clang meson setup -Dfuzz=true -Db_lundef=false -Dwerror=false build-fuzz

asan: build-asan/build.ninja
	@ninja -C build-asan

build-fuzz: build-fuzz/build.ninja
	@ninja -C build-fuzz

packages:
	@scripts/install-packages

demo: packages
	@$(MAKE) --no-print-directory all
	lab/demo

# SUITES chooses some: make check SUITES='unit-policy golden'
check: packages
	@$(MAKE) --no-print-directory all
	@$(MAKE) --no-print-directory asan
	@$(MAKE) --no-print-directory build-fuzz
	@tests/run $(SUITES)

check-kernels: packages
	@$(MAKE) --no-print-directory all
	@tests/kernels/run --prepare
	@tests/run --suites tests/kernels/suites; status=$$?; \
	grep -h '^# verified on' build/test-logs/kernel-*.log; exit $$status

bench: packages
	@$(MAKE) --no-print-directory all
	bench/run

fuzz: packages
	@$(MAKE) --no-print-directory build-fuzz
	tests/fuzz/run --seconds $(FUZZ_SECONDS)

update-golden: all
	tests/golden/run build/reeve --update

install: all
	@meson configure build -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C build

clean:
	rm -rf build build-asan build-fuzz

.PHONY: all asan build-fuzz packages demo check check-kernels bench fuzz update-golden install clean
