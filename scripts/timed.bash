# Sourced by the other scripts: paths, and steps that say how long they took.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
export PATH="$HOME/.cargo/bin:$PATH"

# seconds_since START: START is a value of $EPOCHREALTIME. Prints seconds with two decimals.
seconds_since() {
    local now="${EPOCHREALTIME/[.,]/}" start="${1/[.,]/}"
    local hundredths=$(((now - start) / 10000))
    printf '%d.%02d' $((hundredths / 100)) $((hundredths % 100))
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# step NAME COMMAND...: runs the command and prints how long it took; its failure ends the script.
step() {
    local name="$1" start="$EPOCHREALTIME" code=0
    shift
    printf '==> %s\n' "$name"
    "$@" || code=$?
    if [ "$code" -ne 0 ]; then
        printf '==> %s FAILED after %s s\n' "$name" "$(seconds_since "$start")" >&2
        exit "$code"
    fi
    printf '==> %s: %s s\n' "$name" "$(seconds_since "$start")"
}
