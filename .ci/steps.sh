# The steps of .ci/run.

# own_tools builds them, and the Caddy that other steps ask.
own_tools() {
	go version
	go build -o "$work/bin/" ./internal/tools/...
	go build -o "$work/caddy" ./cmd/caddy
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

# layered fails if files of one of the packages use each other in a circle.
layered() {
	local folder map circles
	for folder in "$@"; do
		map=$("$work/bin/housemap" -circles "$folder")
		circles=$(grep -F '.go -> ' <<<"$map" || true)
		if [ -n "$circles" ]; then
			echo "files of $folder use each other in a circle:"
			echo "$circles"
			return 1
		fi
	done
}

import_arrows() {
	local http='^(net/http|github.com/caddyserver)(/|$)'
	local caddy='^(github.com/caddyserver|go.uber.org/zap|github.com/prometheus)(/|$)'
	local clients='(^|/)(redis|go-redis|rabbitmq|amqp091-go|nats-io|nats.go)(/|$)'
	forbid "the engine knows neither HTTP nor Caddy" "$http" ./offloader/...
	forbid "the bridge knows no Caddy" "$caddy" ./caddymodule/internal/bridge
	forbid "the core has no backend client" "$clients" ./offloader ./offloader/celery ./caddymodule
	local house='(^|/)caddymodule'
	forbid "pools know requests by an interface alone" "$house(/internal/(state|serving|requests|requestbody|admin|metrics))?\$" ./caddymodule/internal/pools
	forbid "what is known of requests knows no run" "$house(/internal/(state|pools|serving|requestbody|admin|metrics))?\$" ./caddymodule/internal/requests
	forbid "answers know no run" "$house(/internal/(state|pools|serving|requestbody|admin|metrics))?\$" ./caddymodule/internal/answers
	forbid "bodies know no run" "$house(/internal/(state|pools|serving|requests|admin|metrics))?\$" ./caddymodule/internal/requestbody
	forbid "the state of the process knows no run" "$house(/internal/(serving|requestbody|admin|metrics))?\$" ./caddymodule/internal/state
	forbid "serving knows neither configuration nor admin" "$house(/internal/(admin|metrics|cli))?\$" ./caddymodule/internal/serving
	forbid "the admin endpoint and metrics know no configuration" "$house\$" ./caddymodule/internal/admin ./caddymodule/internal/metrics
	forbid "the status page knows no configuration" "$house\$" ./caddymodule/status ./caddymodule/internal/statuspage
	forbid "Celery's arguments and answers know no Caddy" "$caddy" ./caddymodule/celery/internal/...
	layered caddymodule caddymodule/status
	layered caddymodule/internal/{admin,admincommand,adminroute,answers,balance,bridge,caddyfilewarn,claims,cli,columns,deadline,exchange,jobpage,jobroute,jobview,metrics,pools,prefer,ready,requestbody,requests,serving,settings,shadow,sidecar,state,statuspage,top,usage}
	layered caddymodule/jobs/internal/{crew,endpoint,idempotency,jobadmin,jobcommand,joblog,jobmetrics,message,output,owner,problem,progress,resource,store,storekey,verdict,webhook}
	forbid "binaries have nothing that is for tests" '^(go.uber.org/goleak|testing|net/http/httptest|github.com/getkin/kin-openapi|github.com/chromedp|github.com/creack|github.com/charmbracelet/x/vt)(/|$)' ./cmd/caddy
}

modules() {
	go mod tidy -diff
	go mod verify
}

# engine_packages prints the packages of the engine without those of Celery and of jobs, which
# wait for connections and for the disk.
engine_packages() {
	go list ./offloader/... | grep -v -e /celery -e /jobs
}

# race_tests leaves out bench/predict, long histories of the engine in virtual time, and what
# repeated_tests runs. The short form also leaves out comparisons of answers, full disks and
# commands in processes of their own: other tests take the same ways through the handler.
race_tests() {
	local packages left_out=/bench/predict skip='^$'
	if [[ ${CI_LONG:-0} == 0 ]]; then
		left_out='/bench/predict|/fidelity/(compare|disk)'
		skip='^Test(Commands|Sidecar)'
	fi
	mapfile -t packages < <(go list ./... | grep -vxFf <(engine_packages) | grep -vE "($left_out)\$")
	need_c_compiler
	test_json tests-race -race -count=1 -timeout=40m -skip="$skip" "${packages[@]}"
}

# model_test plays far more random histories of a pool and of jobs against the rules
# than a newcomer would wait for.
model_test() {
	test_json model -count=1 -run='Model$' ./offloader -model.seeds="$CI_MODEL_SEEDS"
	test_json model-jobs -count=1 -run='Model$' ./offloader/jobs -model.seeds="$((CI_MODEL_SEEDS / 100))" # each stores many jobs
}

# large_bodies passes bodies through Caddy that no memory could hold.
large_bodies() {
	test_json bodies -count=1 -run='^TestLargeBodies$' ./caddymodule/fidelity/disk -bodies.size=2GiB
}

# soak looks for wrong answers and leaks that only a longer load shows.
soak() {
	test_json soak -count=1 -timeout=60m -run='^TestSoak$' ./caddymodule/fidelity/soak -soak.for="$CI_SOAK"
}

# repeated_tests looks for faults of chance in the engine. Only once run tests that are many
# runs already and those of costs, which chance does not change. The long form also repeats
# clients of servers and jobs, less often.
repeated_tests() {
	local many='Model|AgainstBuffer|Allocat|Cheap|Killed' engine
	mapfile -t engine < <(engine_packages)
	need_c_compiler
	test_json engine-many -race -count=1 -timeout=40m -run="$many" "${engine[@]}"
	test_json engine-repeated -race -count="$CI_REPEAT" -timeout=60m -skip="$many" "${engine[@]}"
	if ((CI_REPEAT >= 20)); then
		test_json repeated -race -count="$((CI_REPEAT / 20))" -timeout=120m -skip="$many" \
			./offloader/celery/... ./offloader/jobs/...
	fi
}

# reload_storm reloads far more often than `go test` does.
reload_storm() {
	test_json storm -count=1 -run='^TestReloadStorm$' ./caddymodule -storm.reloads="$CI_STORM_RELOADS"
}

# job_crash_tests kills processes with jobs more often than `go test` does. As root it cuts the
# power of file systems with jobs too, and fills them; they are mounted in a namespace of the
# tests, so that none outlives them.
job_crash_tests() {
	local package=./offloader/jobs/crashtest
	test_json job-kills -count=1 -timeout=20m -run='^TestKilledProcesses' "$package" -crash.kills="$CI_JOB_KILLS"
	if ! unshare --mount true || ! losetup --find >/dev/null; then
		echo "not run: power cuts and full disks, which need root and loop devices"
		return
	fi
	test_json job-disks -tags=integration -count=1 -timeout=20m -exec='unshare --mount' \
		-run='^TestPowerCuts|^TestFullDisk' "$package" -power.rounds="$CI_POWER_ROUNDS"
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

# client_tests plays overloads, timeouts and operators to real clients, and sees whether they
# still do as docs/clients.md says; --long also takes Java and Firefox, and an overload of a
# minute.
client_tests() {
	local arguments=()
	if [[ ${CI_LONG:-0} == 1 ]]; then
		.ci/clients --all
		arguments=(-clients.all)
	else
		.ci/clients
	fi
	(cd caddymodule/clients/testdata/lab && go mod tidy -diff && go mod verify && go vet ./...)
	test_json clients -tags=integration -count=1 -parallel=40 -timeout=20m ./caddymodule/clients "${arguments[@]}"
}

# gpu_example plays the client of OpenAI against the example for a GPU.
gpu_example() {
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		install_packages python3 python3-venv
	fi
	test_json gpu -tags=integration -count=1 -timeout=10m -run='^TestTheClientOfOpenAI$' ./examples/gpu
}

# jobs_example plays a user of the page, and the clients of the README, against the example of
# jobs.
jobs_example() {
	need_package curl curl
	need_package chromium chromium
	need_package node nodejs
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		install_packages python3 python3-venv
	fi
	test_json jobs-example -tags=integration -count=1 -timeout=10m ./examples/jobs
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

# peer_tests compares shares of permits with other projects, whose modules only the module of
# the comparison needs.
peer_tests() {
	(cd bench/peers && go mod tidy -diff && go mod verify && go vet ./...)
	(cd bench/peers/jetstream && go mod tidy -diff && go mod verify && go vet ./...)
	(cd bench/peers && go test -json -count=1 ./...) |
		tee "$work/peers.json" | "$work/bin/testreport" -allow .ci/skips.txt
}

# browser_tests looks at the status page with headless Chromium and axe-core.
browser_tests() {
	.ci/browser
	test_json browser -tags=integration -count=1 -timeout=10m ./caddymodule/status/browser
}

# celery_tests runs Celery's own workers, Redis and RabbitMQ. Tests that measure come
# first, one at a time; most others wait more than they compute.
celery_tests() {
	.ci/celery
	test_json celery -tags=integration -count=1 -parallel=6 -timeout=40m ./offloader/celery/integration -celery.rounds="$CI_CELERY_ROUNDS"
	test_json celery-jobs -tags=integration -count=1 -timeout=10m -run='^TestJobsOfARealWorker$' ./caddymodule/celery
}

# fuzz_targets prints each fuzz target with its package. It reads the sources, because
# asking each test binary would link all of them.
fuzz_targets() {
	local format='{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}'
	local package file
	go list -f "$format" ./... | while read -r package file; do
		if [[ -n $file ]]; then
			sed -nE "s#^func (Fuzz[A-Za-z0-9_]*)\\(.*#$package \\1#p" "$file"
		fi
	done
}

fuzzing() {
	local package name target seconds targets
	mapfile -t targets < <(fuzz_targets)
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
		if ! grep -q '^    context deadline exceeded$' "$output" || grep -q 'Failing input written' "$output"; then
			break
		fi
		echo "try $try ended with its time"
	done
	cat "$output"
	return 1
}

caddyfiles() {
	"$work/bin/caddyfiles" -caddy "$work/caddy"
}

# http2_conformance looks for cases of h2spec that offload breaks.
http2_conformance() {
	local program
	program=$(h2spec)
	"$work/bin/h2compare" -caddy "$work/caddy" -h2spec "$program"
}

# websocket_conformance looks for cases of the Autobahn test suite that offload
# breaks.
websocket_conformance() {
	local program
	program=$(kosoku)
	"$work/bin/wscompare" -caddy "$work/caddy" -kosoku "$program"
}

# observability asks a real Prometheus every query of the example's dashboard.
observability() {
	need_package prometheus prometheus
	promtool check config examples/observability/prometheus.yml
	go build -o "$work/observability" ./examples/observability
	timeout --kill-after=10 240 "$work/bin/dashboard" -program "$work/observability" examples/observability
}

# speed prints what offload costs next to plain Caddy. Times cannot fail it, because
# other work on the machine changes them; allocations and bytes can.
speed() {
	local targets=caddy,caddy-again,caddy-block,caddy-plain,offload-nospool,offload,offload-nocelery
	test_json speed -count=1 -run='Alloc|Cheap|CostsBeyond' \
		./offloader ./caddymodule ./caddymodule/internal/serving ./caddymodule/internal/timerlist
	if ! timeout --kill-after=10 900 go run ./bench -quick -targets "$targets" s1 s7 s8 s9 sse 2>"$work/bench.log"; then
		tail -n 20 "$work/bench.log"
		return 1
	fi
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
	local stamp
	stamp=$("$work/xcaddy-caddy" list-modules --versions | awk '$1 == "http.handlers.offload" { print $2 }')
	if [[ $stamp == v0.0.0 ]]; then # outside a clone
		stamp=unknown
	fi
	"$work/xcaddy-caddy" offload version | tee /dev/stderr | grep -qF "caddy-offload $stamp ("
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
