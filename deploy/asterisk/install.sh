#!/usr/bin/env bash
# Finds an Asterisk this project can run on, or installs one without touching the host.
#
# Prints progress on stderr and one line on stdout: the root folder of the Asterisk to use ("/" = the
# host's own). The private copy is Debian's own packages, extracted (no maintainer script runs, nothing
# is registered with the host) below IVR_CACHE, where all clones share it.
#
#   IVR_CACHE          cache folder (default: ${XDG_CACHE_HOME:-~/.cache}/ivr-server)
#   IVR_DEBIAN_MIRROR  a Debian mirror, where the host's own apt sources are not to be used
#   IVR_ASTERISK_SUITE suite to take Asterisk from (default: forky; on Ubuntu without a Debian mirror: devel)
set -euo pipefail

cache=${IVR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ivr-server}
ubuntu=$(. /etc/os-release 2>/dev/null; [ "${ID:-}" = ubuntu ] && [ -z "${IVR_DEBIAN_MIRROR:-}" ] && echo yes || true)
suite=${IVR_ASTERISK_SUITE:-$([ -n "$ubuntu" ] && echo devel || echo forky)}
components=$([ -n "$ubuntu" ] && echo main,universe || echo main)
root=$cache/asterisk-$suite
packages=asterisk,asterisk-core-sounds-ru-wav,asterisk-core-sounds-en-wav,asterisk-moh-opsound-wav,sip-tester

say() { printf 'asterisk: %s\n' "$*" >&2; }
die() { printf 'asterisk: error: %s\n' "$*" >&2; exit 1; }

# 22.10 and later, or 20.20 and later: releases before them have reported deadlocks under ARI load.
good_enough() { # version text such as "Asterisk 22.10.1~dfsg..."
  [[ $1 =~ ([0-9]+)\.([0-9]+) ]] || return 1
  local major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
  { [ "$major" -eq 22 ] && [ "$minor" -ge 10 ]; } || { [ "$major" -eq 20 ] && [ "$minor" -ge 20 ]; } || [ "$major" -ge 23 ]
}

runs() { # root folder
  local lib
  lib=$(echo "$1"/usr/lib/*-linux-gnu)
  "$(echo "$1"/usr/lib/*-linux-gnu/ld-linux-*.so.*)" --library-path "$lib" "$1/usr/sbin/asterisk" -V 2>/dev/null
}

if [ -x /usr/sbin/asterisk ] && version=$(/usr/sbin/asterisk -V 2>/dev/null); then
  if good_enough "$version"; then
    say "using this host's own $version"
    echo /
    exit 0
  fi
  say "this host has $version, which is older than 22.10 (or 20.20): a private copy is used instead"
fi

mkdir -p "$cache"
exec 9>"$cache/asterisk-$suite.lock"
flock -n 9 || { say "another set-up is installing Asterisk, waiting for it"; flock 9; }

if [ -e "$root/.complete" ] && version=$(runs "$root"); then
  say "using $version from the cache"
  echo "$root"
  exit 0
fi

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "installing '$*' needs root: run it as root once, or install sudo."
  fi
}

if ! command -v mmdebstrap >/dev/null; then
  say "installing the tool mmdebstrap with apt"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 || die "apt-get update failed: check this machine's package sources."
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends mmdebstrap $([ -n "$ubuntu" ] || echo debian-archive-keyring) >&2 \
    || die "apt-get could not install mmdebstrap: check this machine's package sources."
fi

# The mirror that apt on this host already uses for the distribution itself. Others have the same suites and
# components, so it must be signed with the distribution's own keys, or end in its name.
host_mirror() {
  local file
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    awk '
      function flush() {
        if (uri && suite !~ /security/ && (key ~ /(debian|ubuntu)-archive/ || (!key && uri ~ /\/(debian|ubuntu)\/?$/))) { print uri; exit }
        uri = suite = key = ""
      }
      NF == 0 { flush() }
      tolower($1) == "uris:" { uri = $2 }
      tolower($1) == "suites:" { suite = $2 }
      tolower($1) == "signed-by:" { key = $2 }
      END { flush() }' "$file"
  done
  awk '$1 == "deb" && !/security/ && (!/signed-by=/ || /signed-by=[^] ]*(debian|ubuntu)-archive/) {
      for (i = 2; i < NF; i++) if ($i ~ /^(https?|file):.*\/(debian|ubuntu)\/?$/) { print $i; exit }
    }' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
}
mirror=${IVR_DEBIAN_MIRROR:-$(host_mirror | head -n 1)}
[ -n "$mirror" ] || die "no mirror of Debian or Ubuntu found in this host's apt sources: set IVR_DEBIAN_MIRROR to a Debian mirror and run again."

work=$(mktemp -d "$cache/asterisk-$suite.XXXXXX")
trap 'rm -rf "$work"' EXIT
extract() { mmdebstrap --variant=extract --mode=chrootless --components="$components" "$@" --include="$packages" "$suite" "$work/root" "$mirror" >"$work/log" 2>&1; }
say "downloading Asterisk and its sounds (about 120 MB, once for all clones)"
if ! extract; then
  if grep -q 'is expired' "$work/log"; then
    say "the mirror's index is older than its date of expiry (a frozen mirror?): signatures are checked, the date is not"
    rm -rf "$work/root"
    extract --aptopt='Acquire::Check-Valid-Until "false"' || { sed 's/^/  /' "$work/log" | grep -v ' I: ' >&2; die "Asterisk could not be downloaded from the Debian mirror (see above)."; }
  else
    sed 's/^/  /' "$work/log" >&2
    die "Asterisk could not be downloaded from the Debian mirror (see above): check the network, or set IVR_DEBIAN_MIRROR."
  fi
fi
version=$(runs "$work/root") || die "the downloaded Asterisk does not start on this machine: is this a 64-bit Linux with the same architecture as the mirror's?"
good_enough "$version" || die "suite $suite carries $version, which is older than 22.10: set IVR_ASTERISK_SUITE to a newer one."
# What a running Asterisk does not need: documentation, package lists, locales.
rm -rf "$work/root"/usr/share/{man,locale,info} "$work/root"/var/{lib/apt,cache} "$work/root/usr/share/doc-base"
touch "$work/root/.complete"
rm -rf "$root"
mv "$work/root" "$root"
say "installed $version"
echo "$root"
