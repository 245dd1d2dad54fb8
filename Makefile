# Builds and installs farcc. `make install` is the one recipe that the Debian and RPM packages call too.

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install

BINDIR      = $(PREFIX)/bin
LIBEXECDIR  = $(PREFIX)/libexec/farcc
LIBDIR      = $(PREFIX)/lib/farcc
# systemd and the bus look in these, wherever farcc itself is.
UNITDIR     = $(PREFIX)/lib/systemd/system
USERUNITDIR = $(PREFIX)/lib/systemd/user
SYSUSERSDIR = $(PREFIX)/lib/sysusers.d
CATALOGDIR  = $(PREFIX)/lib/systemd/catalog
DBUSDIR     = $(PREFIX)/share/dbus-1
MANDIR      = $(PREFIX)/share/man
DOCDIR      = $(PREFIX)/share/doc/farcc
SYSCONFDIR  = /etc

TARGET  = $(or $(CARGO_TARGET_DIR),target)/release
DAEMONS = farcc-clientd farcc-schedulerd farcc-builderd
MASKS   = gcc g++ cc c++ clang clang++
PAGES   = $(wildcard docs/man/*.md)
# Turns the pages into man format; without it they are installed as they are.
PANDOC := $(shell command -v pandoc 2>/dev/null)

all:
	$(CARGO) build --release --locked

install:
	$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBEXECDIR) $(LIBDIR) $(UNITDIR) $(USERUNITDIR) $(SYSUSERSDIR) \
	    $(CATALOGDIR) $(DBUSDIR)/system.d $(DBUSDIR)/system-services $(DBUSDIR)/services $(DBUSDIR)/interfaces \
	    $(DOCDIR) $(SYSCONFDIR)/farcc)
	$(INSTALL) -m 755 $(TARGET)/farcc $(TARGET)/farccctl $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(addprefix $(TARGET)/,$(DAEMONS)) $(DESTDIR)$(LIBEXECDIR)
	for name in $(MASKS); do ln -sf ../../bin/farcc $(DESTDIR)$(LIBDIR)/$$name || exit 1; done
	$(INSTALL) -m 644 units/system/farcc* $(DESTDIR)$(UNITDIR)
	ln -sf farcc-builder.socket $(DESTDIR)$(UNITDIR)/builder.socket
	$(INSTALL) -m 644 units/user/* $(DESTDIR)$(USERUNITDIR)
	sed -i 's|/usr/libexec/farcc/|$(LIBEXECDIR)/|' $(DESTDIR)$(UNITDIR)/farcc-*.service $(DESTDIR)$(USERUNITDIR)/farcc-*.service
	$(INSTALL) -m 644 units/farcc.sysusers $(DESTDIR)$(SYSUSERSDIR)/farcc.conf
	$(INSTALL) -m 644 units/farcc.catalog $(DESTDIR)$(CATALOGDIR)/farcc.catalog
	$(INSTALL) -m 644 dbus/org.farcc.Scheduler1.conf dbus/org.farcc.Builder1.conf $(DESTDIR)$(DBUSDIR)/system.d
	$(INSTALL) -m 644 dbus/org.farcc.Scheduler1.service dbus/org.farcc.Builder1.service $(DESTDIR)$(DBUSDIR)/system-services
	$(INSTALL) -m 644 dbus/org.farcc.Client1.service $(DESTDIR)$(DBUSDIR)/services
	$(INSTALL) -m 644 dbus/*.xml $(DESTDIR)$(DBUSDIR)/interfaces
	$(INSTALL) -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(DOCDIR)
	$(MAKE) install-man
	$(if $(DESTDIR),,$(MAKE) announce)

# docs/man/NAME.SECTION.md becomes NAME.SECTION.
install-man:
	for page in $(PAGES); do \
	    name=$$(basename $$page .md); section=$${name##*.}; \
	    if [ -z "$(PANDOC)" ]; then \
	        $(INSTALL) -m 644 $$page $(DESTDIR)$(DOCDIR) || exit 1; \
	    else \
	        $(INSTALL) -d $(DESTDIR)$(MANDIR)/man$$section && \
	        $(PANDOC) -s -f markdown -t man -o $(DESTDIR)$(MANDIR)/man$$section/$$name $$page || exit 1; \
	    fi; \
	done

# Tells the running system of what was installed; a package leaves that to its own means.
announce:
	if [ -d /run/systemd/system ]; then systemd-sysusers && systemctl daemon-reload && journalctl --update-catalog; fi

# Compiles a real project through a farm on this machine, and compares every object.
demo:
	tests/demo.sh

# Everything; what needs root is left out, and named, without it.
check:
	tests/check.sh

# The inner loop: no root, a few minutes.
check-fast:
	tests/check.sh --fast

# Boots machines and builds on them. Needs root.
system-test:
	tests/system/run.sh

# Kills and cuts off parts of a farm in the middle of builds. Needs root.
faults:
	tests/system/run.sh --faults

# Builds Debian packages with farcc and without, and compares what every compile command made. PACKAGES="redis zstd/clang" takes some.
conformance:
	tests/conformance/run.sh $(PACKAGES)

bench:
	tests/bench.sh

clean:
	$(CARGO) clean

.PHONY: all install install-man announce demo check check-fast system-test faults conformance bench clean
