#!/bin/bash
# linux.sh: the part of Linux that `make conformance` compiles, out of tree, into the working directory.
#
# The architecture's default configuration, of which these parts are made, some 200 units: the whole kernel would take hours. They are
# chosen for what other programs do not have: objects that embed files by `.incbin` (configuration, headers, certificates,
# firmware, initramfs, the real-mode and kexec images), code for three calling conventions (vdso), sixteen-bit code, objects
# that objtool rewrites, dependency files that fixdep eats, and the programs that Kbuild compiles for the machine it runs on.
set -eu

PARTS=(init/ usr/ certs/ kernel/configs.o kernel/kheaders.o kernel/irq/ kernel/locking/ kernel/time/ kernel/sched/ kernel/cgroup/
  arch/x86/entry/ arch/x86/realmode/ arch/x86/purgatory/ drivers/base/firmware_loader/)

kernel() { make -C "$SOURCE" O="$PWD" -j"$JOBS" CC="$CC" HOSTCC="$CC" "$@"; }

mkdir firmware
echo 'embedded by .incbin' >firmware/conformance.bin
kernel defconfig
"$SOURCE/scripts/config" \
  --enable IKCONFIG --enable IKHEADERS --enable KEXEC_FILE --enable BLK_DEV_INITRD \
  --enable ASYMMETRIC_KEY_TYPE --enable ASYMMETRIC_PUBLIC_KEY_SUBTYPE --enable X509_CERTIFICATE_PARSER --enable SYSTEM_TRUSTED_KEYRING \
  --set-str EXTRA_FIRMWARE conformance.bin --set-str EXTRA_FIRMWARE_DIR "$PWD/firmware"
kernel olddefconfig
kernel "${PARTS[@]}"
