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
TMPFILESDIR = $(PREFIX)/lib/tmpfiles.d
CATALOGDIR  = $(PREFIX)/lib/systemd/catalog
DBUSDIR     = $(PREFIX)/share/dbus-1
POLKITDIR   = $(PREFIX)/share/polkit-1/actions
FIREWALLDIR = $(PREFIX)/lib/firewalld/services
BASHDIR     = $(PREFIX)/share/bash-completion/completions
ZSHDIR      = $(PREFIX)/share/zsh/site-functions
FISHDIR     = $(PREFIX)/share/fish/vendor_completions.d
MANDIR      = $(PREFIX)/share/man
DOCDIR      = $(PREFIX)/share/doc/farcc
SYSCONFDIR  = /etc
# Where the units say the daemons are.
UNITEXECDIR = $(LIBEXECDIR)

BUILD   = $(or $(CARGO_TARGET_DIR),target)
TARGET  = $(BUILD)/release
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
DAEMONS = farcc-clientd farcc-schedulerd farcc-builderd
MASKS   = gcc g++ cc c++ clang clang++
ROLES   = scheduler builder
# Turns the pages into man format; without it their sources are installed as documents.
PANDOC := $(shell command -v pandoc 2>/dev/null)
# docs/man/NAME.SECTION.md, the documents that have a page of their own, and what the interfaces on the bus say of themselves.
PAGES   = $(patsubst docs/man/%.md,%,$(wildcard docs/man/*.md)) farcc-protocol.7 farcc-reasons.7 $(patsubst dbus/%.xml,%.5,$(wildcard dbus/*.xml))

each = set -e; for name in $(1); do $(2); done

# Without make's own variables: cargo builds anew, for whoever calls it by itself, what it built with them.
all:
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL $(CARGO) build --release --locked

install: install-programs install-client install-system install-completions install-man
	$(INSTALL) -d $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(DOCDIR)
	$(if $(DESTDIR),,$(MAKE) announce)

install-programs:
	$(INSTALL) -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBEXECDIR) $(LIBDIR))
	$(INSTALL) -m 755 $(TARGET)/farcc $(TARGET)/farccctl $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 755 $(addprefix $(TARGET)/,$(DAEMONS)) $(DESTDIR)$(LIBEXECDIR)
	$(call each,$(MASKS),ln -sf ../../bin/farcc $(DESTDIR)$(LIBDIR)/$$name)

# What a user's own service manager and bus look at.
install-client:
	$(INSTALL) -d $(addprefix $(DESTDIR),$(USERUNITDIR) $(DBUSDIR)/services $(DBUSDIR)/interfaces)
	$(INSTALL) -m 644 units/user/* $(DESTDIR)$(USERUNITDIR)
	sed -i 's|/usr/libexec/farcc/|$(UNITEXECDIR)/|' $(DESTDIR)$(USERUNITDIR)/farcc-client.service
	$(INSTALL) -m 644 dbus/org.farcc.Client1.service $(DESTDIR)$(DBUSDIR)/services
	$(INSTALL) -m 644 dbus/*.xml $(DESTDIR)$(DBUSDIR)/interfaces

install-system:
	$(INSTALL) -d $(addprefix $(DESTDIR),$(UNITDIR) $(SYSUSERSDIR) $(TMPFILESDIR) $(CATALOGDIR) $(DBUSDIR)/system.d \
	    $(DBUSDIR)/system-services $(POLKITDIR) $(FIREWALLDIR) $(SYSCONFDIR)/farcc)
	$(INSTALL) -m 644 units/system/farcc* $(DESTDIR)$(UNITDIR)
	sed -i 's|/usr/libexec/farcc/|$(UNITEXECDIR)/|' $(DESTDIR)$(UNITDIR)/farcc-*.service
	ln -sf farcc-builder.socket $(DESTDIR)$(UNITDIR)/builder.socket
	$(call each,$(ROLES),$(INSTALL) -m 644 units/farcc-$$name.sysusers $(DESTDIR)$(SYSUSERSDIR)/farcc-$$name.conf)
	$(INSTALL) -m 644 units/farcc.tmpfiles $(DESTDIR)$(TMPFILESDIR)/farcc.conf
	$(INSTALL) -m 644 units/farcc.catalog $(DESTDIR)$(CATALOGDIR)
	$(INSTALL) -m 644 dbus/org.farcc.Scheduler1.conf dbus/org.farcc.Builder1.conf $(DESTDIR)$(DBUSDIR)/system.d
	$(INSTALL) -m 644 dbus/org.farcc.Scheduler1.service dbus/org.farcc.Builder1.service $(DESTDIR)$(DBUSDIR)/system-services
	$(INSTALL) -m 644 polkit/*.policy $(DESTDIR)$(POLKITDIR)
	$(INSTALL) -m 644 contrib/firewalld/*.xml $(DESTDIR)$(FIREWALLDIR)

# What makes a tree relocatable, for the archive of `make tarball` only: a builder of a user's own, and how to put it all in place.
install-home:
	$(INSTALL) -m 644 units/home/* $(DESTDIR)$(USERUNITDIR)
	ln -sf farcc-builder.socket $(DESTDIR)$(USERUNITDIR)/builder.socket
	$(INSTALL) -m 755 contrib/install-home.sh $(DESTDIR)$(PREFIX)/install.sh
	$(INSTALL) -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE $(DESTDIR)$(PREFIX)

install-completions:
	$(INSTALL) -d $(addprefix $(DESTDIR),$(BASHDIR) $(ZSHDIR) $(FISHDIR))
	$(INSTALL) -m 644 contrib/completions/farcc.bash $(DESTDIR)$(BASHDIR)/farcc
	$(INSTALL) -m 644 contrib/completions/_farcc $(DESTDIR)$(ZSHDIR)
	$(INSTALL) -m 644 contrib/completions/farcc.fish $(DESTDIR)$(FISHDIR)
	$(TARGET)/farccctl completions bash >$(DESTDIR)$(BASHDIR)/farccctl
	$(TARGET)/farccctl completions zsh >$(DESTDIR)$(ZSHDIR)/_farccctl
	$(TARGET)/farccctl completions fish >$(DESTDIR)$(FISHDIR)/farccctl.fish

ifeq ($(PANDOC),)
install-man:
	$(INSTALL) -d $(DESTDIR)$(DOCDIR)
	$(INSTALL) -m 644 docs/man/*.md docs/protocol.md docs/reasons.md $(DESTDIR)$(DOCDIR)
else
install-man: $(addprefix $(BUILD)/man/,$(PAGES))
	$(call each,$(PAGES),$(INSTALL) -D -m 644 $(BUILD)/man/$$name $(DESTDIR)$(MANDIR)/man$${name##*.}/$$name)
endif

to_man = $(PANDOC) -s -f markdown -t man -o $@

$(BUILD)/man/%: docs/man/%.md | $(BUILD)/man
	$(to_man) $<

$(BUILD)/man/farcc-%.7: docs/%.md docs/man/document.awk | $(BUILD)/man
	awk -v name=farcc-$* -f docs/man/document.awk $< | $(to_man)

$(BUILD)/man/%.5: dbus/%.xml docs/man/interface.awk | $(BUILD)/man
	awk -v name=$* -f docs/man/interface.awk $< | $(to_man)

$(BUILD)/man:
	mkdir -p $@

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

# Looks for bytes that make farcc panic: a minute for each kind.
fuzz:
	tests/fuzz.sh

# Installs, uses, upgrades and removes the packages on booted machines. Needs root.
package-test:
	tests/packages/run.sh

# Kills and cuts off parts of a farm in the middle of builds. Needs root.
faults:
	tests/system/run.sh --faults

# Builds Debian packages with farcc and without, and compares what every compile command made. PACKAGES="redis zstd/clang" takes some.
conformance:
	tests/conformance/run.sh $(PACKAGES)

# The commands of docs/recipes.md, in a project of each build system that can be had here.
recipes:
	tests/recipes/run.sh

bench:
	tests/bench.sh

# One archive of the sources with every crate: what packages are made of, without a network. Needs git.
dist:
	contrib/dist.sh $(BUILD)/dist

# Packages for this machine's Debian and those after it, in target/deb. From the archive; with PREBUILT=1 of what `make` has built.
deb:
	contrib/dist.sh --deb $(if $(PREBUILT),--prebuilt) $(BUILD)/deb

# Packages for Fedora and its kin, in target/rpm; with PREBUILT=1 of what `make` has built, for a try.
rpm:
	contrib/dist.sh --rpm $(if $(PREBUILT),--prebuilt) $(BUILD)/rpm

# For people without root and for systems whose /usr is an image: unpack below ~/.local, or let its install.sh do that.
tarball: all
	contrib/dist.sh --tarball $(BUILD)/tarball

clean:
	$(CARGO) clean

.PHONY: all install install-programs install-client install-system install-home install-completions install-man announce demo check check-fast \
    system-test package-test faults conformance recipes fuzz bench dist deb rpm tarball clean
