# Sourced by tests/run and .ci/run: stages with their times, and Debian packages where they can be installed.

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null
}

stage_names=() stage_times=()

# stage NAME COMMAND…: runs a command and keeps how long it took.
stage() {
    local name=$1 start=$SECONDS
    shift
    printf '\n=== %s\n' "$name" >&2
    stage_names+=("$name")
    "$@"
    stage_times+=("$((SECONDS - start)) s")
}

# What each stage took; the one without a time is where it ended.
report() {
    local i
    printf '\n%s, %d s in all:\n' "$1" "$SECONDS"
    for i in "${!stage_names[@]}"; do
        printf '  %-28s %8s\n' "${stage_names[i]}" "${stage_times[i]-failed}"
    done
}

needed=() wanted=()

# Packages without which nothing goes.
need_package() {
    needed+=("$@")
}

# Packages that help.
want_package() {
    wanted+=("$@")
}

# Installs them where that is possible: with apt-get, as root or through a sudo that does not ask.
install_packages() {
    local all=("${needed[@]}" "${wanted[@]}") as_root=()
    [ ${#all[@]} -gt 0 ] || return 0
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    if have apt-get && "${as_root[@]}" true 2>/dev/null; then
        echo "installing ${all[*]}"
        "${as_root[@]}" apt-get update -qq
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${all[@]}" ||
            [ ${#needed[@]} -eq 0 ] || fail "apt-get did not install ${needed[*]}"
    elif [ ${#needed[@]} -gt 0 ]; then
        fail "missing, and not installable from here (no root, no sudo, or no apt-get): ${needed[*]}"
    fi
    needed=() wanted=()
}
