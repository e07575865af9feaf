# Functions for scripts that build images from scratch of programs on this machine. They copy files to
# $root, the folder that becomes the image's root, and use the script's function say.

# need_busybox installs a static busybox if there is none.
need_busybox() {
  if command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "a static busybox is needed (Debian: busybox-static)" >&2
    exit 1
  fi
  say "installing busybox-static"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends busybox-static >/dev/null
}

# add_busybox NAME… adds it under its own name and others.
add_busybox() {
  mkdir -p "$root/bin"
  cp "$(command -v busybox)" "$root/bin/busybox"
  for name in "$@"; do ln -s busybox "$root/bin/$name"; done
}

# add_libraries FILE… adds the C libraries that the files load, and those that the resolver loads.
# Libraries below $unpacked are added without that prefix.
add_libraries() {
  local prefix=${unpacked:-/nonexistent} lib
  { for f in "$@"; do ldd "$f" 2>/dev/null | awk '/=> \//{print $3} /^\t\/lib/{print $1}'; done
    ldconfig -p | awk '/libnss_files|libnss_dns|libresolv|libgcc_s/ && /x86-64|AArch64|aarch64/ {print $NF}'
  } | grep -v "^$root" | sort -u | while read -r lib; do
    if [ -e "$lib" ]; then
      mkdir -p "$root$(dirname "${lib#"$prefix"}")"
      cp -Lu "$lib" "$root${lib#"$prefix"}"
    fi
  done
}
