# Steps for the example of Celery, with the real servers that .ci/celery installs.

# celery_example plays the proxy's way on all combinations of broker and backend,
# and beside it what a careful author would write. It fails if a request was lost.
celery_example() {
	local broker backend
	go build -o "$work/play" ./examples/celery/play
	for broker in rabbitmq redis; do
		for backend in redis rpc; do
			timeout --kill-after=10 300 "$work/play" -broker "$broker" -backend "$backend" -only tasks/,celery/threads
		done
	done
}

# celery_jmeter plays the scene with the tool that it was first measured with. The
# last path is the defect itself, and spoils the service for whoever comes next.
celery_jmeter() {
	go build -o "$work/play" ./examples/celery/play
	timeout --kill-after=10 600 "$work/play" -requirements requirements-5.6.txt -- \
		.ci/jmeter /offload/tasks/factorial /offload/celery/threads /offload/celery/run_in_executor /direct/celery/run_in_executor
}

# python_sources lints what the examples and the tests with backends and clients have in
# Python.
python_sources() {
	local ruff
	ruff=$(python_tools ruff==0.17.5)/ruff
	"$ruff" check --no-cache examples caddymodule/backends caddymodule/clients
	"$ruff" format --no-cache --diff examples caddymodule/backends caddymodule/clients
}
