# Helpers of .ci/run: steps that are timed and counted, and tools that are
# installed once and kept in the user's cache.

golangci_version=v2.15.0
h2spec_version=v2.2.1
kosoku_version=0.1.0

# step TITLE COMMAND... runs a command in a shell of its own, so that its first
# error ends it and nothing else. The end of its output is kept for the summary.
step() {
	local title=$1 started=$SECONDS result=0 took log=$work/step-$BASHPID.log
	shift
	printf '\n=== %s\n' "$title"
	set +e # not `if` or `||`: those would switch off `set -e` inside as well
	(
		set -euo pipefail
		"$@"
	) > >(tee "$log") 2>&1
	result=$?
	set -e
	sleep 0.2 # for tee; nothing waits for its end, since a service may outlive its step
	took=$((SECONDS - started))
	printf '%5d s  %s\n' "$took" "$title" >>"$work/times"
	if ((result == 0)); then
		printf -- '--- done in %d s\n' "$took"
	else
		printf -- '--- FAILED after %d s (exit %d)\n' "$took" "$result"
		{
			printf 'failed step: %s\n' "$title"
			tail -n 12 "$log" | sed 's/^/\t/'
		} >>"$work/failed"
	fi
}

# beside COMMAND... runs a function of steps beside the steps that follow, with what these
# leave of the processors. finish waits for it, and shows what it has printed.
beside() {
	(
		renice -n 10 -p "$BASHPID"
		"$@"
	) >"$work/beside.log" 2>&1 &
	beside_pid=$!
}

# finish prints the times and the number of tests, and exits.
finish() {
	local result=0
	wait "$beside_pid" || result=1
	cat "$work/beside.log"
	printf '\n=== summary\n'
	cat "$work/times"
	printf '%5d s  in all\n\n' "$SECONDS"
	"$work/bin/testreport" -closing -allow .ci/skips.txt "$work"/*.json || result=1
	if [[ -s $work/failed ]]; then
		cat "$work/failed"
		result=1
	fi
	exit "$result"
}

# golangci prints the path of golangci-lint in the version that .golangci.yml is
# written for, and builds it first if it is not there.
golangci() {
	local folder=${XDG_CACHE_HOME:-$HOME/.cache}/caddy-offload/golangci-lint-$golangci_version
	if [[ ! -x $folder/golangci-lint ]]; then
		echo "building golangci-lint $golangci_version" >&2
		mkdir -p "$folder"
		# Not cross-compiled and not bound by this module, whatever is set here.
		(cd "$work" && GOBIN=$folder CGO_ENABLED=0 \
			go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_version") >&2
	fi
	printf '%s\n' "$folder/golangci-lint"
}

# h2spec prints the path of the conformance test h2spec, and builds it first if it
# is not there. It is older than modules and names no versions of what it uses;
# these fit.
h2spec() {
	local folder=${XDG_CACHE_HOME:-$HOME/.cache}/caddy-offload/h2spec-$h2spec_version
	local package=github.com/summerwind/h2spec/cmd/h2spec
	if [[ ! -x $folder/h2spec ]]; then
		echo "building h2spec $h2spec_version" >&2
		mkdir -p "$folder" "$work/h2spec"
		(
			cd "$work/h2spec"
			go mod init h2spec
			go get "$package@$h2spec_version+incompatible" \
				golang.org/x/net@v0.62.0 github.com/fatih/color@v1.19.0 github.com/spf13/cobra@v1.10.2
			GOBIN=$folder CGO_ENABLED=0 go install "$package"
		) >&2
	fi
	printf '%s\n' "$folder/h2spec"
}

# python_tools NAME==VERSION prints the folder of the commands of a Python package,
# and installs it first, in an environment of its own, if it is not there.
python_tools() {
	local folder=${XDG_CACHE_HOME:-$HOME/.cache}/caddy-offload/${1/==/-}
	if [[ ! -e $folder/complete ]]; then
		echo "installing $1" >&2
		if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
			install_packages python3 python3-venv >&2
		fi
		rm -rf "$folder"
		python3 -m venv "$folder" >&2
		"$folder/bin/pip" install --quiet --disable-pip-version-check "$1" >&2
		touch "$folder/complete"
	fi
	printf '%s\n' "$folder/bin"
}

# kosoku prints the path of the program that plays the cases of the Autobahn test
# suite. The suite's own program needs a Python that systems no longer have.
kosoku() {
	printf '%s\n' "$(python_tools "kosoku==$kosoku_version")/kosoku"
}

# need_package COMMAND PACKAGES... installs Debian packages if the command is not
# there.
need_package() {
	local command=$1
	shift
	if ! command -v "$command" >/dev/null; then
		install_packages "$@"
	fi
}

# install_packages PACKAGES... installs Debian packages, one caller after the other. A program
# policy-rc.d that refuses keeps them from starting a service.
install_packages() {
	(
		flock 9
		if [[ ! -e /usr/sbin/policy-rc.d ]]; then
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
			printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
			chmod +x /usr/sbin/policy-rc.d
		fi
		apt-get update --quiet
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends "$@"
	) 9>"${TMPDIR:-/tmp}/caddy-offload-packages.lock"
}

# need_c_compiler installs one for the race detector, if none is there.
need_c_compiler() {
	need_package "$(go env CC)" gcc libc6-dev
}

# test_json NAME ARGUMENTS... runs `go test -json`, shows it as `go test` would,
# keeps the events for the summary, and fails on a skip.
test_json() {
	local name=$1
	shift
	go test -json "$@" | tee "$work/$name.json" | "$work/bin/testreport" -allow .ci/skips.txt
}

# forbid REASON PATTERN PACKAGES... fails if the packages link one that matches.
forbid() {
	local reason=$1 pattern=$2 deps found
	shift 2
	deps=$(go list -deps "$@")
	found=$(awk -v pattern="$pattern" '$0 ~ pattern' <<<"$deps")
	if [[ -n $found ]]; then
		printf '%s, but %s links\n%s\n' "$reason" "$*" "$found"
		return 1
	fi
	printf 'ok  \t%s\n' "$reason"
}
