# SPDX-License-Identifier: GPL-2.0-or-later
# The front door; meson and ninja do the work.

PREFIX ?= /usr/local

all: build/build.ninja
	ninja -C build

build/build.ninja:
	meson setup --prefix=$(PREFIX) build

clean:
	rm -rf build build-asan build-fuzz

.PHONY: all clean
