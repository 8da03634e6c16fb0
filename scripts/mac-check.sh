#!/usr/bin/env bash
# The real things, on a Mac: Homebrew, launchd, Services, Shortcuts, sound, Metal. Prints a line for
# each, and ends with 1 if one failed.
#
#   scripts/mac-check.sh               installs this checkout with Homebrew first, in a tap of its own
#   scripts/mac-check.sh --installed   takes the lfm that is on the PATH
#
# It works in a home of its own (LFM_HOME) and takes away what it has put into ~/Library. An agent or
# a Quick Action that is there already is left alone, and its lines are skipped.
set -uo pipefail

label=io.github.lfm2audio-mlx.daemon
agent="$HOME/Library/LaunchAgents/$label.plist"
services="$HOME/Library/Services"
pbs=/System/Library/CoreServices/pbs
tap=lfm/here
here=$(cd "$(dirname "$0")/.." && pwd)
recording=$here/tests/data/recordings/seen_00.wav
words="alarm set for five thirty"

installed=no
case ${1-} in
  "") ;;
  --installed) installed=yes ;;
  *)
    echo "usage: mac-check.sh [--installed]" >&2
    exit 2
    ;;
esac
if [ "$(uname -s)" != Darwin ]; then
  echo "mac-check.sh: this is no Mac; \`make mac-check\` checks what can be checked here" >&2
  exit 2
fi

work=$(mktemp -d /tmp/lfm-check.XXXXXX)
export LFM_HOME=$work/home LFM_MODEL=nano
mkdir "$LFM_HOME"
bad=0
ours=$work/ours # is there while the agent is ours to take away

clean() {
  [ ! -e "$ours" ] || lfm -q daemon uninstall
  lfm -q daemon stop 2> /dev/null
  rm -rf "$work"
}
trap clean EXIT

# Runs a check in a shell of its own and prints its line; with 77 a check says that it cannot be
# made here. Programs run in the order of the lines, and each line tells the last that was said.
check() {
  local name=$1 state
  shift
  ("$@") > "$work/told" 2>&1
  case $? in
    0) state=ok ;;
    77) state=skipped ;;
    *)
      state=failed
      bad=$((bad + 1))
      ;;
  esac
  printf '%-8s %-40s %s\n' "$state" "$name" "$(grep -v '^ *$' "$work/told" | tail -n 1)"
  [ "$state" != failed ] || sed 's/^/         | /' "$work/told"
}

skip() {
  echo "$1"
  exit 77
}

# Homebrew

chip() { sysctl -n machdep.cpu.brand_string | grep Apple; }

brewed() {
  [ "$installed" = no ] || skip "the lfm on the PATH is checked"
  cd "$here" && rm -rf dist && make dist || exit 1
  brew tap | grep -qx "$tap" || brew tap-new --no-git "$tap" || exit 1
  local archive
  archive=$(echo "$PWD"/dist/*.tar.gz)
  .venv/bin/python scripts/formula.py "$archive" lfm/lfm2audio-mlx "file://$archive" \
    > "$(brew --repository "$tap")/Formula/lfm.rb" || exit 1
  brew trust "$tap" 2> /dev/null # Homebrew 5 knows no trust and needs none
  brew reinstall --build-from-source "$tap/lfm"
}

brew_tests() {
  brew list --formula 2> /dev/null | grep -qx lfm || skip "not installed with Homebrew"
  brew test lfm
}

brew_audits() {
  brew list --formula 2> /dev/null | grep -qx lfm || skip "not installed with Homebrew"
  brew style lfm && brew linkage --test lfm
}

manual() { man -w lfm && man lfm | col -b | grep -q "lfm transcribe"; }

completed() {
  brew list --formula 2> /dev/null | grep -qx lfm || skip "not installed with Homebrew"
  ls "$(brew --prefix)/share/zsh/site-functions/_lfm" "$(brew --prefix)/etc/bash_completion.d/lfm"
}

# lfm itself

hears() { lfm transcribe --no-daemon "$recording" | grep "$words"; }

doctor() { lfm doctor; }

film() {
  afconvert -f m4af -d aac "$recording" "$work/film.m4a" \
    && lfm transcribe --no-daemon "$work/film.m4a" | grep "alarm"
}

microphone() {
  lfm doctor | grep -i '^microphone' | grep -v fault
}

# launchd

health() { curl -sf --max-time 60 --unix-socket "$(lfm daemon socket)" http://lfm/health; }

agent_installed() {
  [ ! -e "$agent" ] || skip "there is an agent already, which is left alone"
  touch "$ours"
  lfm daemon install && plutil -lint "$agent"
}

agent_only() { [ -e "$ours" ] || skip "the agent is not ours"; }

agent_again() { agent_only && lfm daemon install && launchctl print "gui/$(id -u)/$label"; }

agent_waits() {
  agent_only
  local told
  told=$(launchctl print "gui/$(id -u)/$label") || return 1
  ! grep "pid = " <<< "$told"
}

agent_starts() { agent_only && health && launchctl print "gui/$(id -u)/$label" | grep "pid = "; }

agent_crashes() {
  agent_only
  local before after
  before=$(launchctl print "gui/$(id -u)/$label" | awk '/pid = /{print $3; exit}')
  kill -9 "$before" && sleep 2 && health || return 1
  after=$(launchctl print "gui/$(id -u)/$label" | awk '/pid = /{print $3; exit}')
  [ -n "$after" ] && [ "$before" != "$after" ]
}

agent_private() {
  agent_only
  [ "$(stat -f %Lp "$(lfm daemon socket)")" = 600 ] || return 1
  lfm transcribe "$recording" | grep "$words"
}

agent_goes() {
  agent_only
  lfm daemon uninstall || return 1
  rm "$ours"
  [ ! -e "$agent" ] && ! launchctl print "gui/$(id -u)/$label"
}

# Services and Shortcuts

written() { lfm shortcuts install --folder "$work/shortcuts" && ls "$work/shortcuts"; }

lint() {
  local found=0 file
  while IFS= read -r -d '' file; do
    plutil -lint "$file" || return 1
    found=$((found + 1))
  done < <(find "$work/shortcuts" \( -name '*.plist' -o -name '*.wflow' -o -name '*.shortcut' \) -print0)
  echo "$found files"
  [ "$found" -gt 8 ]
}

in_services() {
  local place="$services/Answer Aloud with LFM.workflow"
  [ ! -e "$place" ] || skip "there is one already, which is left alone"
  lfm shortcuts install answer && [ -d "$place" ] || return 1
  "$pbs" -flush && "$pbs" -update && "$pbs" -dump_pboard | grep "Answer Aloud with LFM"
  local listed=$?
  lfm shortcuts uninstall answer && [ ! -e "$place" ] && return "$listed"
}

runs() {
  local file="$work/a name (1) of 'mine' & more.wav"
  cp "$recording" "$file"
  automator -i "$file" "$work/shortcuts/Transcribe with LFM.workflow" || return 1
  grep "$words" "${file%.wav}.txt"
}

# AppleScript stands in the lines of the shell as `-e`s, from `on run` to `end run`.
apple_script() {
  find "$1" \( -name '*.wflow' -o -name '*.shortcut' \) -exec cat {} + \
    | sed -n "s/.*-e '\([^']*\)'.*/\1/p"
}

compiles() {
  local text="$work/told.applescript" found=0 line
  while IFS= read -r line; do
    [ "$line" != "on run argv" ] || : > "$text"
    echo "$line" >> "$text"
    [ "$line" = "end run" ] || continue
    osacompile -o "$work/told.scpt" "$text" || return 1
    found=$((found + 1))
  done < <(apple_script "$work/shortcuts")
  echo "$found scripts"
  [ "$found" -gt 8 ]
}

signed() {
  local file
  for file in "$work"/shortcuts/*.shortcut; do
    shortcuts sign --mode anyone --input "$file" --output "$file.signed" && continue
    [ -z "${CI-}" ] || skip "needs an Apple account, which no runner has"
    return 1
  done
}

# Metal

metal() {
  [ -x "$here/.venv/bin/pytest" ] || skip "make test has not been run"
  cd "$here" && .venv/bin/pytest -q -m metal
}

bench() { lfm bench; }

check "Apple silicon" chip
check "brew install --build-from-source" brewed
check "brew test" brew_tests
check "brew style, brew linkage" brew_audits
check "manual page" manual
check "completions" completed
check "lfm hears" hears
check "lfm reads m4a, by afconvert" film
check "lfm doctor" doctor
check "microphone, may Terminal use it?" microphone
check "lfm daemon install, plutil -lint" agent_installed
check "again; launchctl print" agent_again
check "the daemon waits for somebody" agent_waits
check "the first connection starts it" agent_starts
check "it comes back after a crash" agent_crashes
check "the socket is private, and answers" agent_private
check "lfm daemon uninstall" agent_goes
check "lfm shortcuts install --folder" written
check "plutil -lint on all of them" lint
check "a Quick Action is in the Services menu" in_services
check "a Quick Action runs (automator)" runs
check "its AppleScript compiles (osacompile)" compiles
check "shortcuts sign" signed
check "pytest -m metal" metal
check "lfm bench" bench

echo
if [ "$bad" -gt 0 ]; then
  echo "$bad failed"
  exit 1
fi
echo "all is well"
