#!/bin/sh
# Makes proto/openapi/workflow.openapi.json from proto/gen/openapi. Runs after `buf generate`, from anywhere.
set -eu
cd "$(dirname "$0")/../.."
merged=$(mktemp)
out=$(mktemp)
trap 'rm -f "$merged" "$out"' EXIT
# The first input gives title, version and security; the order of the rest is fixed, so that the result is.
find proto/gen/openapi -name '*.openapi.json' | LC_ALL=C sort | xargs bin/openapiv3-merge proto/openapi/base.openapi.json >"$merged"
(cd proto && GOWORK=off go run ./cmd/openapi-assemble) <"$merged" >"$out"
cat "$out" >proto/openapi/workflow.openapi.json
