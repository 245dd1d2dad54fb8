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
# Whichever is there turns the pages into man format; without one they are installed as they are.
MD2MAN := $(firstword $(foreach tool,pandoc go-md2man lowdown,$(if $(shell command -v $(tool) 2>/dev/null),$(tool))))

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

# docs/man/NAME.SECTION.md becomes NAME.SECTION.
install-man:
	for page in $(PAGES); do \
	    name=$$(basename $$page .md); section=$${name##*.}; \
	    $(INSTALL) -d $(DESTDIR)$(MANDIR)/man$$section || exit 1; \
	    out=$(DESTDIR)$(MANDIR)/man$$section/$$name; \
	    case "$(MD2MAN)" in \
	    pandoc)    pandoc -s -f markdown -t man -o $$out $$page ;; \
	    go-md2man) go-md2man -in $$page -out $$out ;; \
	    lowdown)   lowdown -s -t man -o $$out $$page ;; \
	    *)         $(INSTALL) -m 644 $$page $(DESTDIR)$(DOCDIR) ;; \
	    esac || exit 1; \
	done

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

bench:
	tests/bench.sh

clean:
	$(CARGO) clean

.PHONY: all install install-man demo check check-fast system-test faults bench clean
