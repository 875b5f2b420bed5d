#!/bin/bash
# Makes docs/pictures/report.png: the report of a simulated cluster of 60 nodes with a few faults, in Chromium.
#
# Needs chromium, and a Rust toolchain. Leaves no process running.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --quiet --bin ctl
cargo build --quiet --package contrail-lab --example lab

folder=$(mktemp -d)
# The lab ends when its standard input is closed.
exec {hold}> >(
    exec target/debug/examples/lab --nodes 60 \
        --fault a6s02=fatal=contrail-collector --fault db01=supervisor-down --fault cfg01=backoff=contrail-api \
        --fault c17=refused --fault c18=refused --fault c19=refused \
        --fault a6s01=non-functional=contrail-query-engine --fault c40=core-file=contrail-vrouter-agent \
        --fault c33=fatal=contrail-vrouter-agent --fault c34=fatal=contrail-vrouter-agent \
        >"$folder/lab"
)
trap 'exec {hold}>&-; rm -rf "$folder"' EXIT
for _ in $(seq 200); do
    if grep -qs '^ready$' "$folder/lab"; then break; fi
    sleep 0.1
done
lab=$(head -n 1 "$folder/lab")

status=0
target/debug/ctl status --quiet --inventory "$lab/inventory.yaml" --known-hosts "$lab/known_hosts" --ssh-config none \
    --output html --out "$folder/report.html" || status=$?
[ "$status" -eq 4 ] || { echo "ctl ended with $status" >&2; exit 1; }

chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --hide-scrollbars --user-data-dir="$folder/profile" \
    --blink-settings=preferredColorScheme=1 --window-size=1280,1400 --force-device-scale-factor=1 \
    --screenshot="$folder/report.png" "file://$folder/report.html" 2>"$folder/chromium"
mv "$folder/report.png" docs/pictures/report.png
