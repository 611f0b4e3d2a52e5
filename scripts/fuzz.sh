#!/usr/bin/env bash
# Fuzzes the server with schemathesis, as a user and as an administrator, each against a fresh SQLite database. Fails if an
# answer is a server error, has a status, content type, header or body that the OpenAPI document does not describe, or accepts
# what the document forbids; or if the server's log has an error.
#
#   scripts/fuzz.sh             10 minutes for each of the two, and 2 more for version 2 of the API
#   scripts/fuzz.sh <seconds>   this long for each
#
# FUZZ_SEED=<number> repeats a run. OMNISTACK=<path> tests another binary than the debug build.
#
# Every other documented operation of both versions is called. Stripe is `omnistack fake-vendors`. Excluded are:
#
# - the operations of Google Play, which answer 503 without a service account;
# - the stream of events, which does not end;
# - the check positive_data_acceptance: a request that fits the document may break a rule, such as a wrong current password;
# - the check ensure_resource_availability: a repeated Idempotency-Key gives the first answer again, whose project may have been
#   deleted since;
# - a bare 414 or 431, which the HTTP parser answers to a URL above 64 KiB or a head above 32 KiB before any operation is reached
#   (fuzz.py);
# - rate limits, which are off, because nearly every answer would be a 429.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

seconds=${1:-600}
seed=${FUZZ_SEED:-$((RANDOM * 32768 + RANDOM))}
release=4.32.5

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
target=$(cd "$target" && pwd)

# Installs schemathesis below the target folder, once.
venv=$target/schemathesis-$release
if [ ! -x "$venv/bin/schemathesis" ] && ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "schemathesis==$release"; }; then
  rm -rf "$venv"
  if [ "${REQUIRE_SERVICES:-}" = 1 ]; then echo "schemathesis $release cannot be installed from PyPI" >&2; exit 1; fi
  echo "skipped: schemathesis $release cannot be installed from PyPI"
  exit 0
fi

if [ -z "${OMNISTACK:-}" ]; then
  cargo build --quiet --locked
  OMNISTACK=$target/debug/omnistack
fi
export OMNISTACK

work=$(mktemp -d)
server="" vendors=""
stop() {
  for process in $server $vendors; do kill "$process" 2> /dev/null || true; wait "$process" 2> /dev/null || true; done
  server="" vendors=""
}
finish() { stop; rm -rf "$work"; }
trap finish EXIT

# Starts the look-alike of Stripe on any free port; its webhooks go nowhere. Writes the variables that lead to it into `stripe.env`.
serve_vendors() {
  (cd "$1" && exec env -i PATH="$PATH" HOME="$1" "$OMNISTACK" fake-vendors --port 0 --deliver-to http://127.0.0.1:9/ > "$1/vendors" 2>&1) &
  vendors=$!
  for _ in $(seq 1 100); do
    grep -E '^STRIPE_[A-Z_]+=' "$1/vendors" > "$1/stripe.env" || true
    if grep -q '^STRIPE_PRICE_ID_ENTERPRISE=' "$1/stripe.env"; then return; fi
    sleep 0.1
  done
  cat "$1/vendors" >&2
  echo "the look-alike of Stripe did not start" >&2
  exit 1
}

# Starts the server in a folder of its own, on any free port, without the caller's variables; sets `url`.
serve() {
  mkdir -p "$1"
  serve_vendors "$1"
  local stripe
  mapfile -t stripe < "$1/stripe.env"
  : > "$1/log"
  (cd "$1" && exec env -i PATH="$PATH" HOME="$1" PORT=0 RATE_LIMIT_ENABLED=false RATE_LIMIT_ADDRESS=1000000/second \
    RATE_LIMIT_WEBHOOK=1000000/second AUTH_PROVIDER=local AI_DEFAULT_PROVIDER=echo PLAN_LIMITS_ENABLED=false DATABASE_URL="sqlite:///$1/fuzz.db" \
    CLERK_WEBHOOK_SECRET=whsec_bm90IGEgc2VjcmV0LCBmb3IgZnV6emluZyBvbmx5 SUPABASE_WEBHOOK_SECRET=not-a-secret-for-fuzzing-only \
    APPLE_BUNDLE_ID=com.example.app "${stripe[@]}" "$OMNISTACK" > "$1/log" 2>&1) &
  server=$!
  for _ in $(seq 1 300); do
    url=$(sed -nE 's/.*ready.*address[":= ]+[^ "]*:([0-9]+).*/http:\/\/127.0.0.1:\1/p' "$1/log" | head -n 1)
    if [ -n "$url" ]; then return; fi
    if ! kill -0 "$server" 2> /dev/null; then break; fi
    sleep 0.1
  done
  cat "$1/log" >&2
  echo "the server did not get ready" >&2
  exit 1
}

failed=""
for role in user admin; do
  printf '\n--- fuzzing as %s for %s s, FUZZ_SEED=%s\n' "$role" "$seconds" "$seed"
  serve "$work/$role"
  (
    cd "$work/$role"
    export DATABASE_URL="sqlite:///$work/$role/fuzz.db" FUZZ_EMAIL="fuzz-$role@example.com"
    "$OMNISTACK" users create "$FUZZ_EMAIL" --role "$role" < /dev/null > /dev/null || exit
    status=0
    # Version 2 has a few operations only.
    for run in "v1 $seconds" "v2 $((seconds / 5 + 1))"; do
      read -r version limit <<< "$run"
      PYTHONPATH=$root/scripts SCHEMATHESIS_HOOKS=fuzz "$venv/bin/schemathesis" run "$url/api/$version/openapi.json" \
        --exclude-path-regex '/(iap|webhooks)/google$|/app/events$' --exclude-checks positive_data_acceptance,ensure_resource_availability --seed "$seed" --max-time "$limit" --generation-database none \
        --request-timeout 30 --output-truncate true --warnings off --no-color || status=1
    done
    exit "$status"
  ) | cut -c 1-500 || failed+=" $role"
  if grep -m 20 -E '^[0-9:.]+ ERROR ' "$work/$role/log"; then failed+=" $role (errors in its log)"; fi
  stop
done
[ -z "$failed" ] || { echo "fuzzing found faults as:$failed" >&2; exit 1; }
