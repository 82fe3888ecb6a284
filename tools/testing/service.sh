# shellcheck shell=bash
# A service of its own for tests and measurements: sourced, from the root of the repository, by
# root. The programs are those in bazel-bin, already built; port, data and sockets are its own.

# service_start DIR TEMPLATES [CHECKOUT]: starts it with its state in DIR, which must not exist yet,
# from the programs of this checkout or another one. Sets SERVICE_URL and SERVICE_KEY. Returns a
# failure, after printing why, when it does not come up.
service_start() {
    local dir=$1 templates=$2 built=${3:-.}/bazel-bin port
    # The server's user must be able to pass through.
    install -d -m 0755 "$dir" "$dir/bin" "$dir/data" &&
        install -m 0755 "$built/tools/cli/crownest" "$built/server/crownestd" \
            "$built/sandboxd/sandboxd" "$dir/bin" || return
    # Images are large and never written to: links will do where one file system holds both.
    cp -al "$templates" "$dir/data/templates" 2>/dev/null ||
        cp -a "$templates" "$dir/data/templates" || return
    port=$(/usr/bin/python3 -c '
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1])') || return
    SERVICE_URL=http://127.0.0.1:$port
    if ! "$dir/bin/crownest" up --detach --data "$dir/data" --run-dir "$dir/run" \
        --listen "127.0.0.1:$port"; then
        tail -n 20 "$dir"/data/log/*.log >&2 || true
        return 1
    fi
    SERVICE_KEY=$("$dir/bin/crownest" keys create --label tests \
        --url "unix:$dir/run/crownest.sock") || return
    export SERVICE_URL SERVICE_KEY
}

# service_stop DIR: ends it if it runs.
service_stop() {
    [ ! -e "$1/run/up.pid" ] || "$1/bin/crownest" down --run-dir "$1/run"
}
