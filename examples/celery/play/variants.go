package main

import (
	"github.com/caddy-offload/caddy-offload/internal/load"
)

// variant is one route of the example.
type variant struct {
	title string
	route string      // below /direct and /offload
	want  load.Digest // of the right answer
	proxy bool        // Caddy itself calls the task
	waits bool        // for nothing but time, so that a run is over soon
}

// each is the number of requests of each client. A run of 0.4 s is too short: one pause of
// the machine halves its speed.
func (v variant) each() int {
	if v.waits {
		return eachWaiting
	}
	return each
}

// factorial is the answer of all routes that call the task.
var factorial = load.DigestOf("2432902008176640000")

// variants are all routes, in the order of the table.
var variants = []variant{
	{title: "run_in_executor(result.get)", route: "celery/run_in_executor", want: factorial},
	{title: "await coroutine", route: "celery/coroutine", want: factorial},
	{title: "wait_for(coroutine, None)", route: "celery/wait_for", want: factorial},
	{title: "wait_for(coroutine, 2)", route: "celery/wait_for_2", want: factorial},
	{title: "create_task(coroutine)", route: "celery/create_task", want: factorial},
	{title: "blocking delay().get()", route: "celery/blocking", want: factorial},
	{title: "delay().get() in threads", route: "celery/threads", want: factorial},
	{title: "Sanic asks the sidecar", route: "celery/sidecar", want: factorial},
	{title: "the celery directive", route: "tasks/factorial", want: factorial, proxy: true},
	{title: "asyncio.sleep, coroutine", route: "sleep/coroutine", waits: true},
	{title: "asyncio.sleep, task", route: "sleep/task", waits: true},
	{title: "aiohttp, coroutine", route: "http/coroutine", waits: true},
	{title: "aiohttp, task", route: "http/task", waits: true},
	{title: "computing on the loop", route: "cpu/loop"},
	{title: "computing in threads", route: "cpu/threads"},
	{title: "computing in processes", route: "cpu/processes"},
}
