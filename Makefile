# Builds, tries, checks, measures and installs libetcdgw. `make help` lists the goals.

PREFIX     = /usr/local
LIBDIR     = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
DESTDIR    =

CARGO   = cargo
INSTALL = install

# Cargo.toml is the only file that states name, version and description.
from_manifest = $(shell sed -n '/^$(1) = /{s/^[^"]*"\(.*\)"$$/\1/p;q;}' Cargo.toml)
VERSION      := $(call from_manifest,version)
DESCRIPTION  := $(call from_manifest,description)
MAJOR        := $(word 1,$(subst ., ,$(VERSION)))
MINOR        := $(word 2,$(subst ., ,$(VERSION)))
# The part of the version that the soname carries: below 1.0 a minor release may change the interface.
SOVERSION    := $(if $(filter 0,$(MAJOR)),0.$(MINOR),$(MAJOR))

SHARED   := libetcdgw.so
SONAME   := $(SHARED).$(SOVERSION)
REALNAME := $(SHARED).$(VERSION)
STATIC   := libetcdgw.a
HEADER   := etcdgw.h

BUILD := $(or $(CARGO_TARGET_DIR),target)/release

# Arguments: prefix, library folder, header folder. Writes the pkg-config file to stdout.
pkg_config = sed -e 's|@PREFIX@|$(1)|' -e 's|@LIBDIR@|$(2)|' -e 's|@INCLUDEDIR@|$(3)|' -e 's|@VERSION@|$(VERSION)|' \
	-e 's|@DESCRIPTION@|$(DESCRIPTION)|' -e "s|@LIBS_PRIVATE@|$$(cat $(BUILD)/native-static-libs)|" packaging/etcdgw.pc.in

.PHONY: all library demo check soak sanitize fuzz bench install uninstall clean help
.DELETE_ON_ERROR:

all: library $(BUILD)/etcdgw.pc $(BUILD)/$(SONAME)

# Not `cargo build`: as long as a Rust library is among what it makes, cargo leaves link-time optimization away, and the
# shared object is larger by a tenth. Beside it comes what a program needs that is linked with the static library.
library:
	@$(CARGO) rustc --release --locked --lib --crate-type cdylib,staticlib -- --print native-static-libs=$(BUILD)/native-static-libs

# Programs that were linked against the build folder look for the soname there.
$(BUILD)/$(SONAME): | library
	ln -sf $(SHARED) $@

# For programs that use the library from the build folder: PKG_CONFIG_PATH=target/release
$(BUILD)/etcdgw.pc: packaging/etcdgw.pc.in Makefile Cargo.toml Cargo.lock | library
	@$(call pkg_config,$(CURDIR),$(abspath $(BUILD)),$(CURDIR)/include) >$@

demo:
	@.ci/demo

check:
	@.ci/check

soak:
	@.ci/soak

sanitize:
	@.ci/sanitize

fuzz:
	@.ci/fuzz

# BENCH='watches latency': only that.
bench: all
	@benches/run.sh $(BENCH)

# Builds nothing, so that it can run as another user than the one who has the Rust toolchain.
install:
	@test -e $(BUILD)/etcdgw.pc || { echo "nothing is built yet: run 'make' first" >&2; exit 1; }
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 755 $(BUILD)/$(SHARED) $(DESTDIR)$(LIBDIR)/$(REALNAME)
	ln -sf $(REALNAME) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/$(SHARED)
	$(INSTALL) -m 644 $(BUILD)/$(STATIC) $(DESTDIR)$(LIBDIR)/$(STATIC)
	$(INSTALL) -m 644 include/$(HEADER) $(DESTDIR)$(INCLUDEDIR)/$(HEADER)
	@$(call pkg_config,$(PREFIX),$(LIBDIR),$(INCLUDEDIR)) >$(DESTDIR)$(LIBDIR)/pkgconfig/etcdgw.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/etcdgw.pc
	$(refresh_loader)

uninstall:
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(REALNAME) $(SONAME) $(SHARED) $(STATIC) pkgconfig/etcdgw.pc)
	rm -f $(DESTDIR)$(INCLUDEDIR)/$(HEADER)
	$(refresh_loader)

# The loader finds a library in a system folder only through its cache. In a staging folder there is nothing to refresh.
refresh_loader = @if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

clean:
	$(CARGO) clean

help:
	@echo 'make             build $(BUILD)/$(SHARED), $(STATIC) and etcdgw.pc'
	@echo 'make demo        run examples-c/quickstart.c against a throw-away etcd'
	@echo 'make check       run every test, on every etcd version in tests/etcd/versions'
	@echo 'make soak        20 minutes of random faults (ETCDGW_SOAK_SECONDS) under threads that write and watch'
	@echo 'make sanitize    look for data races (Rust nightly) and lost memory (valgrind) in the watches'
	@echo 'make fuzz        look for inputs that break something (Rust nightly), a minute per target (ETCDGW_FUZZ_SECONDS)'
	@echo 'make bench       measure against a raw socket and against libcurl with cJSON, and watches on real servers'
	@echo 'make install     copy library, header and etcdgw.pc below PREFIX=$(PREFIX) (also: DESTDIR, LIBDIR, INCLUDEDIR)'
	@echo 'make uninstall   remove what install has copied'
	@echo 'make clean       remove what was built'
