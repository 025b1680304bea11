# The steps of .ci/run, in their order there.

own_tools() {
	go version
	go build -o "$work/bin/" ./internal/tools/...
}

# plain_tests runs what the README tells a newcomer to run.
plain_tests() {
	if ! grep -qF 'go test ./...' README.md; then
		echo "README.md does not name the test command 'go test ./...'"
		return 1
	fi
	test_json tests-plain ./...
}

formatting() {
	local unformatted linter
	unformatted=$(gofmt -l .)
	if [[ -n $unformatted ]]; then
		printf 'gofmt would change\n%s\n' "$unformatted"
		return 1
	fi
	linter=$(golangci)
	"$linter" fmt --diff
}

lint() {
	local linter
	linter=$(golangci)
	"$linter" version
	"$linter" run ./...
}

import_arrows() {
	local http='^(net/http|github.com/caddyserver)(/|$)'
	local caddy='^(github.com/caddyserver|go.uber.org/zap|github.com/prometheus)(/|$)'
	local clients='(^|/)(redis|go-redis|rabbitmq|amqp091-go|nats-io|nats.go)(/|$)'
	forbid "the engine knows neither HTTP nor Caddy" "$http" ./offloader/...
	forbid "the bridge knows no Caddy" "$caddy" ./caddymodule/internal/bridge
	forbid "the core has no backend client" "$clients" ./offloader ./offloader/celery ./caddymodule
	local house='(^|/)caddymodule'
	forbid "pools know requests by an interface alone" "$house(/internal/(serving|requests|requestbody|admin|metrics))?\$" ./caddymodule/internal/pools
	forbid "what is known of requests knows no run" "$house(/internal/(serving|requestbody|admin|metrics))?\$" ./caddymodule/internal/requests
	forbid "bodies know no run" "$house(/internal/(serving|requests|admin|metrics))?\$" ./caddymodule/internal/requestbody
	forbid "serving knows neither configuration nor admin" "$house(/internal/(admin|metrics|cli))?\$" ./caddymodule/internal/serving
	forbid "the admin endpoint and metrics know no configuration" "$house\$" ./caddymodule/internal/admin ./caddymodule/internal/metrics
	forbid "Celery's arguments and answers know no Caddy" "$caddy" ./caddymodule/celery/internal/...
	forbid "binaries have nothing that is for tests" '^(go.uber.org/goleak|testing|net/http/httptest|github.com/getkin/kin-openapi)(/|$)' ./cmd/caddy
}

modules() {
	go mod tidy -diff
	go mod verify
}

race_tests() {
	need_c_compiler
	test_json tests-race -race -count=1 -timeout=20m ./...
}

# model_test plays far more random histories of a pool against the reference
# than a newcomer would wait for.
model_test() {
	test_json model -count=1 -run='Model$' ./offloader -model.seeds="$CI_MODEL_SEEDS"
}

# large_bodies passes bodies through Caddy that no memory could hold.
large_bodies() {
	test_json bodies -count=1 -run='^TestLargeBodies$' ./caddymodule/fidelity/disk -bodies.size=2GiB
}

# soak looks for wrong answers and leaks that only a longer load shows.
soak() {
	test_json soak -count=1 -timeout=60m -run='^TestSoak$' ./caddymodule/fidelity/soak -soak.for="$CI_SOAK"
}

# repeated_tests looks for faults of chance in the engine. Left out are tests that
# are many runs already and those of costs, which chance does not change. Clients of
# servers are run less often: they wait for connections.
repeated_tests() {
	local many='Model|AgainstBuffer|Allocat|Cheap' engine
	mapfile -t engine < <(go list ./offloader/... | grep -v /celery)
	need_c_compiler
	test_json repeated -race -count="$CI_REPEAT" -timeout="${CI_REPEAT}m" -skip="$many" "${engine[@]}"
	test_json repeated-celery -race -count="$((CI_REPEAT / 10 + 1))" -timeout="${CI_REPEAT}m" ./offloader/celery/...
}

# reload_storm reloads far more often than `go test` does.
reload_storm() {
	test_json storm -count=1 -run='^TestReloadStorm$' ./caddymodule -storm.reloads="$CI_STORM_RELOADS"
}

# backend_tests counts the requests inside real backends behind a pool, and sees whether
# servers are still as docs/backends.md says; --long looks at all of them. They wait more
# than they compute, so they run side by side.
backend_tests() {
	local arguments=()
	if [[ ${CI_LONG:-0} == 1 ]]; then
		.ci/backends --all
		arguments=(-backends.all)
	else
		.ci/backends
	fi
	test_json backends -tags=integration -count=1 -parallel=10 -timeout=20m ./caddymodule/backends "${arguments[@]}"
}

# plugin_tests compares sites with and without offload, with other plugins in front and
# behind. Their Caddy is a module of its own. The long form repeats it, since the order in
# which requests meet differs.
plugin_tests() {
	local rounds=1
	if [[ ${CI_LONG:-0} == 1 ]]; then
		rounds=10
	fi
	(cd caddymodule/plugins/testdata/lab && go mod tidy -diff && go mod verify && go vet ./...)
	test_json plugins -tags=integration -count="$rounds" -timeout=30m ./caddymodule/plugins
}

# celery_tests runs Celery's own workers, Redis and RabbitMQ. Tests that measure come
# first, one at a time; most others wait more than they compute.
celery_tests() {
	.ci/celery
	test_json celery -tags=integration -count=1 -parallel=6 -timeout=40m ./offloader/celery/integration -celery.rounds="$CI_CELERY_ROUNDS"
}

# fuzz_packages prints the packages with fuzz targets. It reads the sources,
# because asking each test binary would link all of them.
fuzz_packages() {
	local format='{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}'
	local package file
	go list -f "$format" ./... | while read -r package file; do
		if [[ -n $file ]] && grep -q '^func Fuzz' "$file"; then
			printf '%s\n' "$package"
		fi
	done | sort -u
}

fuzzing() {
	local package packages names name target seconds targets=()
	packages=$(fuzz_packages)
	for package in $packages; do
		names=$(go test -list '^Fuzz' "$package" | awk '/^Fuzz/')
		for name in $names; do
			targets+=("$package $name")
		done
	done
	if ((${#targets[@]} == 0)); then
		echo "no fuzz target found"
		return 1
	fi
	seconds=$((CI_FUZZ_TOTAL / ${#targets[@]}))
	if ((seconds > CI_FUZZ_SECONDS)); then
		seconds=$CI_FUZZ_SECONDS
	fi
	for target in "${targets[@]}"; do
		read -r package name <<<"$target"
		fuzz_target "$package" "$name" "$((seconds > 0 ? seconds : 1))s"
	done
}

# fuzz_target fuzzes for a time. Before Go 1.27 go test sometimes takes the end of
# that time for a failure (go.dev/issue/75804): then no input is at fault, and it is
# tried again.
fuzz_target() {
	local output=$work/fuzz.txt try
	for try in 1 2 3; do
		if go test -run='^$' -fuzz="^$2\$" -fuzztime="$3" "$1" >"$output" 2>&1; then
			cat "$output"
			return
		fi
		cat "$output"
		if ! grep -q '^    context deadline exceeded$' "$output" || grep -q 'Failing input written' "$output"; then
			return 1
		fi
		echo "try $try ended with its time"
	done
	return 1
}

caddyfiles() {
	go build -o "$work/caddy" ./cmd/caddy
	"$work/bin/caddyfiles" -caddy "$work/caddy"
}

# http2_conformance looks for cases of h2spec that offload breaks.
http2_conformance() {
	local program
	program=$(h2spec)
	go build -o "$work/caddy" ./cmd/caddy
	"$work/bin/h2compare" -caddy "$work/caddy" -h2spec "$program"
}

# websocket_conformance looks for cases of the Autobahn test suite that offload
# breaks.
websocket_conformance() {
	local program
	program=$(kosoku)
	go build -o "$work/caddy" ./cmd/caddy
	"$work/bin/wscompare" -caddy "$work/caddy" -kosoku "$program"
}

# observability asks a real Prometheus every query of the example's dashboard.
observability() {
	need_package prometheus prometheus
	promtool check config examples/observability/prometheus.yml
	go build -o "$work/observability" ./examples/observability
	timeout --kill-after=10 240 "$work/bin/dashboard" -program "$work/observability" examples/observability
}

# demo plays the whole scene once; it fails if the protected run lost a request.
demo() {
	timeout --kill-after=10 240 go run ./cmd/demo -json
}

xcaddy_build() {
	local log=$work/xcaddy.log
	if ! go run ./cmd/build -output "$work/xcaddy-caddy" 2>"$log"; then
		tail -n 50 "$log"
		return 1
	fi
}

# other_platforms compiles the engine and the module for where files and signals
# work differently.
other_platforms() {
	local platform
	for platform in darwin/arm64 windows/amd64 linux/arm64; do
		echo "$platform"
		CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go build ./offloader/... ./caddymodule/... ./cmd/...
	done
}
