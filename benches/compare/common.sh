# What `run` and `trips` share: the peers, nodes of this machine, and their end. Sourced, never run.
#
# Every process is started by `start`, which notes its pid; `finish` ends those, what they started, and whatever runs in
# the mount namespace of a node. Nothing is ended by name. All files are in $lab, which `finish` removes.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$project/benches/compare
tools=${CARGO_TARGET_DIR:-$project/target}/compare

PORT=${PORT:-2322}
CTL=${CTL:-${CARGO_TARGET_DIR:-$project/target}/release/ctl}
BSSH=${BSSH:-$tools/bin/bssh}
VENV=${VENV:-$tools/venv}

bssh_version=3.1.0
python_packages=(ansible-core==2.19.4 parallel-ssh==2.14.0)
debian_packages=(openssh-server openssh-client supervisor hyperfine python3 iproute2 clustershell pdsh pssh)

started=() namespaces=() supervisords=() sockets=() lab= group= usage=

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

# Starts a process of the lab in the background.
start() {
    "$@" </dev/null &
    started+=($!)
}

# Runs a command to its end. In the background, since bash acts on a signal only when no command is in the foreground.
attend() {
    start "$@"
    local status=0
    wait "$!" || status=$?
    return "$status"
}

# Every process below the ones named.
descendants() {
    local parent child
    for parent in "$@"; do
        for child in $(cat "/proc/$parent"/task/*/children 2>/dev/null || true); do
            echo "$child"
            descendants "$child"
        done
    done
}

# What runs in the nodes' mount namespaces: also processes that no longer have a parent there.
residents() {
    [ "${#namespaces[@]}" -gt 0 ] || return 0
    find /proc/[0-9]*/ns/mnt -maxdepth 0 -printf '%l %p\n' 2>/dev/null |
        grep -wF -f <(printf '%s\n' "${namespaces[@]}") | cut -d/ -f3 || true
}

# A control group for the nodes: it counts the processor time also of processes that outlive their parent. Without one,
# as in many containers, that time is missing. $usage is the file that has it.
make_group() {
    local name=ctl-compare.$$
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        group=/sys/fs/cgroup/$name usage=cpu.stat
    else
        group=/sys/fs/cgroup/cpuacct/$name usage=cpuacct.usage
    fi
    if ! mkdir "$group" 2>/dev/null; then
        group='' usage=
        say "no control group: the nodes' CPU lacks that of processes which outlive their parent"
        return 0
    fi
    usage=$group/$usage
}

# Ends every process of the lab, and waits until they have ended.
stop_all() {
    [ "${#started[@]}" -gt 0 ] || return 0
    local all left attempt pid
    all="${started[*]} $(descendants "${started[@]}") $(residents)"
    # shellcheck disable=SC2086 # a list of numbers
    kill $all 2>/dev/null || true
    for attempt in $(seq 100); do
        left=$(for pid in $all $(residents); do [ ! -d "/proc/$pid" ] || echo "$pid"; done)
        # A child that has ended stays in /proc until it is waited for.
        [ -n "$(for pid in $left; do grep -qs '^State:[[:space:]]*Z' "/proc/$pid/status" || echo "$pid"; done)" ] || break
        # shellcheck disable=SC2086
        if [ "$attempt" = 60 ]; then kill -KILL $left 2>/dev/null || true; fi
        sleep 0.1
    done
    wait "${started[@]}" 2>/dev/null || true
    started=() namespaces=()
}

finish() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    [ -z "$group" ] || rmdir "$group"
    [ -z "$lab" ] || rm -rf "$lab"
    exit "$status"
}

# Checks what the lab needs, and makes its directory and the user's key.
prepare() {
    [ "$(id -u)" = 0 ] || die "the nodes need mount namespaces: run as root"
    umask 022
    lab=$(mktemp -d "${TMPDIR:-/tmp}/ctl-compare.XXXXXX")
    chmod 755 "$lab"
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    ulimit -n "$(ulimit -Hn)"
    # Nothing of the user that runs this reaches a client: no agent, no known_hosts, no display.
    unset SSH_AUTH_SOCK SSH_ASKPASS DISPLAY PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED
    export LC_ALL=C.UTF-8 TERM=dumb
    mkdir -p /run/sshd "$lab/run" "$lab/home/.ssh" "$lab/node-home" "$lab/keys" "$lab/commands" "$lab/state" "$tools"
    export HOME=$lab/home XDG_STATE_HOME=$lab/state
    cp /etc/skel/.bashrc /etc/skel/.profile "$lab/node-home/" 2>/dev/null || true
    ssh-keygen -q -t ed25519 -N '' -C compare -f "$lab/user"
}

# Installs missing peers, unless INSTALL=0. A peer that cannot be installed is no error here.
install_peers() {
    [ "${INSTALL:-1}" = 1 ] || return 0
    local package absent=()
    for package in "${debian_packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || absent+=("$package")
    done
    if [ "${#absent[@]}" -gt 0 ] && command -v apt-get >/dev/null; then
        say "installing ${absent[*]}"
        apt-get update -qq >&2 || true
        for package in "${absent[@]}"; do
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                say "cannot install $package"
        done
    fi
    if [ ! -x "$VENV/bin/ansible" ] || ! "$VENV/bin/python" -c 'import pssh' 2>/dev/null; then
        say "installing ${python_packages[*]} into $VENV"
        python3 -m venv "$VENV" >&2 || say "cannot create $VENV"
        for package in "${python_packages[@]}"; do
            [ ! -x "$VENV/bin/pip" ] || "$VENV/bin/pip" install -q "$package" >&2 || say "cannot install $package"
        done
    fi
    if [ ! -x "$BSSH" ] && command -v cargo >/dev/null; then
        say "building bssh $bssh_version (about ten minutes)"
        HOME=$(getent passwd "$(id -u)" | cut -d: -f6) cargo install bssh --version "$bssh_version" --locked \
            --ignore-rust-version --quiet --root "$tools" --target-dir "$tools/build" >&2 || say "cannot build bssh"
        rm -rf "$tools/build"
    fi
}

# Whether a client can be run; prints the reason if it cannot.
missing() {
    case $1 in
        ctl*) [ -x "$CTL" ] || echo "no $CTL (cargo build --release)" ;;
        ssh*) command -v ssh >/dev/null || echo "package openssh-client" ;;
        clush) command -v clush >/dev/null || echo "package clustershell" ;;
        pdsh) command -v pdsh >/dev/null || echo "package pdsh" ;;
        pssh) command -v parallel-ssh >/dev/null || echo "package pssh" ;;
        ansible) [ -x "$VENV/bin/ansible" ] || echo "ansible-core, from PyPI" ;;
        parallel-ssh) "$VENV/bin/python" -c 'import pssh' 2>/dev/null || echo "parallel-ssh, from PyPI" ;;
        bssh) [ -x "$BSSH" ] || echo "bssh, from the crate registry" ;;
        *) echo "unknown: expected one of ${all_peers[*]}" ;;
    esac
}

# The clients' ssh_config, for the addresses of a pattern.
write_ssh_config() {
    cat >"$lab/ssh_config" <<EOC
Host $1
    Port $PORT
    User root
    IdentityFile $lab/user
    IdentitiesOnly yes
    UserKnownHostsFile $lab/home/.ssh/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    ConnectTimeout 30
    LogLevel ERROR
EOC
}

# write_sshd_config FILE ADDRESS HOST-KEY: as Debian ships it, but for logins of one key, and many at once.
write_sshd_config() {
    cat >"$1" <<EOC
Port $PORT
ListenAddress $2
HostKey $3
PidFile ${1%.conf}.pid
AuthorizedKeysFile $lab/user.pub
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 2000:30:4000
MaxSessions 64
LogLevel INFO
EOC
}

# start_supervisord DIRECTORY: its socket is DIRECTORY/run/analytics.sock.
start_supervisord() {
    local program
    mkdir -p "$1/run"
    {
        cat <<EOC
[unix_http_server]
file=$1/run/analytics.sock
[supervisord]
logfile=$1/supervisord.log
pidfile=$1/supervisord.pid
childlogdir=$1
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
EOC
        for program in contrail-collector contrail-analytics-api contrail-query-engine; do
            cat <<EOC
[program:$program]
command=/bin/sleep 1000000
startsecs=1
stdout_logfile=NONE
stderr_logfile=NONE
EOC
        done
    } >"$1/supervisord.conf"
    start /usr/bin/supervisord -n -c "$1/supervisord.conf" >/dev/null 2>&1
    [ -z "$group" ] || echo "$!" >"$group/cgroup.procs"
    supervisords+=($!)
    sockets+=("$1/run/analytics.sock")
}

# start_sshd CONFIGURATION [SOCKET-DIRECTORY]: in a mount namespace with the home of a new Debian user, a /run/lock of
# its own, and the node's sockets at $lab/run.
start_sshd() {
    local root_home
    root_home=$(getent passwd root | cut -d: -f6)
    # shellcheck disable=SC2016 # expanded by the inner shell
    start env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${IN_NETWORK:-} unshare --mount --propagation private sh -c '
        { [ -z "$6" ] || echo $$ >"$6/cgroup.procs"; } &&
        mount --bind "$1" "$2" && mount -t tmpfs -o mode=1777,size=1m tmpfs /run/lock &&
        { [ -z "$4" ] || mount --bind "$4" "$5"; } &&
        exec /usr/sbin/sshd -D -f "$3" -E "${3%.conf}.log"' node "$lab/node-home" "$root_home" "$1" "${2:-}" "$lab/run" "$group"
}

# wait_for_sshd CONFIGURATION PID: until it listens.
wait_for_sshd() {
    local attempt
    for attempt in $(seq 200); do
        if [ -s "${1%.conf}.pid" ]; then
            namespaces+=("$(readlink "/proc/$2/ns/mnt")")
            return 0
        fi
        [ -d "/proc/$2" ] || break
        sleep 0.05
    done
    die "a node's sshd does not start: $(cat "${1%.conf}.log" 2>/dev/null)"
}
