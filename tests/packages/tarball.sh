#!/bin/bash
# tarball.sh HOST NAME: run by run.sh beside the booted machine NAME, which has a compiler, bubblewrap, the user `dev` with a service
# manager of its own, and the archive in /packages. Installs as that user, makes a farm of daemons in a home directory, compiles
# through it, and removes everything again.
set -eu
. "$(dirname "$0")/steps.sh"
host=$1 name=$2

main() {
  begin "install.sh"
  listing >"$scratch/before"
  dev "cd /tmp && tar -xf /packages/farcc-*.tar && farcc-*/install.sh"
  expect "$(dev "systemctl --user is-enabled builder.socket || true; systemctl --user is-enabled farcc-client.socket || true" | xargs)" "alias disabled"
  dev "systemd-analyze --user --man=no verify ~/.local/share/systemd/user/farcc-builder.service ~/.local/share/systemd/user/farcc-client.service"
  expect "$(dev "readlink -f ~/.local/lib/farcc/g++")" /home/dev/.local/bin/farcc
  begin "a farm in a home directory"
  dev "systemd-run --user --quiet --unit scheduler -p Type=notify -p StateDirectory=farcc-scheduler ~/.local/libexec/farcc/farcc-schedulerd"
  dev "line=\$(STATE_DIRECTORY=~/.local/state/farcc-scheduler farccctl farm invite --address 127.0.0.1)
    farccctl farm join --builder \"\$line\" && farccctl farm join --client \"\$line\""
  dev "systemctl --user enable --now --quiet builder.socket farcc-client.socket && systemctl --user start farcc-builder.service"
  dev 'printf "int f(void) { return 1; }\n" >a.c && gcc -g -c a.c -o plain.o
    for _ in $(seq 100); do
      farcc gcc -g -c a.c -o a.o && cmp a.o plain.o
      if farccctl stats --json | grep -q "\"remote\": *[1-9]"; then exit 0; fi
      sleep 0.1
    done
    farccctl why a.c; exit 1'
  begin "install.sh --remove"
  dev "systemctl --user disable --now --quiet farcc-builder.socket farcc-builder.service farcc-client.socket farcc-client.service
    systemctl --user stop scheduler.service
    /tmp/farcc-*/install.sh --remove
    rm -r /tmp/farcc-* ~/.config/farcc ~/.cache/farcc* ~/.local/state/farcc* ~/a.* ~/plain.o"
  listing >"$scratch/after"
  expect "left: $(comm -13 "$scratch/before" "$scratch/after")" "left: "
}

explain() { dev "journalctl --user --no-pager -n 30"; }

dev() { "$host" as dev "$name" bash -euc "cd; PATH=~/.local/bin:\$PATH; $1"; }

listing() { "$host" run "$name" find /home/dev -not -type d | sort; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
main
