package backends

// Texts that several servers share.
const (
	oneLoop   = "a handler that blocks stops its one event loop, so one at a time"
	moreLoops = "the number of its processes, where there are several"
	awaits    = "handlers that await do not stop its event loop"
	capacity  = "as many as what they wait for can take"
	workers   = "the number of its processes times threads, less one for routes that do not block"

	overtakes = "on kept connections the next blocking request overtakes fast ones that wait for its event loop"
	loses     = "it loses what arrives on an idle connection while its event loop is blocked"
)

// catalogue is in the order of names.
var catalogue = []Backend{
	{Name: "aiohttp", Title: "aiohttp", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: overtakes},
	{
		Name: "aiohttp-await", Title: "aiohttp, handlers that await, handler_cancellation=True", Concurrency: 8, Reason: awaits, More: capacity,
		Stops: "handler_cancellation cancels a handler when its client leaves",
	},
	{Name: "daphne", Title: "Daphne", Concurrency: 1, Reason: oneLoop, More: moreLoops},
	{
		Name: "django", Title: "Django, WSGI", Concurrency: 1, More: workers,
		Reason: "gunicorn runs one worker with one thread unless it is told otherwise",
	},
	{
		Name: "django-asgi", Title: "Django, ASGI, views of def", Concurrency: 8, More: "as many as what its views use can take",
		Reason: "it starts a thread for each request, without a limit of its own",
	},
	{
		Name: "django-asgi-await", Title: "Django, ASGI, views of async def that await", Concurrency: 8, Reason: awaits, More: capacity,
		Stops: "a view of async def is cancelled when its client leaves",
	},
	{Name: "express", Title: "Express", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: loses},
	{Name: "fastapi", Title: "FastAPI, async def", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: overtakes},
	{
		Name: "fastapi-def", Title: "FastAPI, def", Concurrency: 8, More: "fewer than its threads, which other routes of def need too",
		Reason: "it runs routes of def in 40 threads, which the routes that do not block share",
	},
	{
		Name: "go", Title: "Go, net/http", Concurrency: 8, More: "as many as what its handlers use can take",
		Reason: "it starts a goroutine for each request, without a limit of its own",
	},
	{Name: "granian", Title: "Granian, ASGI", Concurrency: 1, Reason: oneLoop, More: moreLoops},
	{
		Name: "granian-wsgi", Title: "Granian, WSGI", Concurrency: 8, More: "fewer than its blocking threads, which other routes need too",
		Reason: "it runs handlers in up to 512 threads, which the routes that do not block share",
	},
	{
		Name: "gunicorn", Title: "gunicorn, sync and gthread workers", Concurrency: 1, More: workers,
		Reason: "it runs one worker with one thread unless it is told otherwise",
	},
	{Name: "gunicorn-asgi", Title: "gunicorn, asgi workers", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: loses},
	{
		Name: "gunicorn-gevent", Title: "gunicorn, gevent workers", Concurrency: 8, More: "as many as what its handlers use can take",
		Reason: "its handlers take turns where they wait, up to 1000 in each worker",
	},
	{Name: "hypercorn", Title: "hypercorn", Concurrency: 1, Reason: oneLoop, More: moreLoops},
	{
		Name: "jdk", Title: "JDK HttpServer", Concurrency: 1, More: "the number of threads of its executor, less one for routes that do not block",
		Reason: "it runs all handlers in one thread unless it has an executor",
	},
	{
		Name: "jetty", Title: "Jetty", Concurrency: 8, More: "fewer than its threads, which other routes need too",
		Reason: "it has up to 200 threads, which the routes that do not block share",
	},
	{
		Name: "mod_wsgi", Title: "Apache with mod_wsgi", Concurrency: 8, More: workers,
		Reason: "a daemon process has 15 threads, which the routes that do not block share",
	},
	{Name: "node", Title: "Node", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: loses},
	{
		Name: "php", Title: "PHP-FPM", Concurrency: 4, More: "pm.max_children, less one for scripts that do not block", FastCGI: true,
		Reason: "it comes with pm.max_children 5, and one is left for scripts that do not block",
	},
	{
		Name: "puma", Title: "Puma", Concurrency: 4, More: workers,
		Reason: "it runs up to 5 threads, and one is left for routes that do not block",
	},
	{Name: "sanic", Title: "Sanic", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: overtakes},
	{
		Name: "sanic-await", Title: "Sanic, handlers that await", Concurrency: 8, Reason: awaits, More: capacity,
		Stops: "a handler is cancelled when its client leaves",
	},
	{
		Name: "starman", Title: "Starman", Concurrency: 4, More: "the number of its workers, less one for routes that do not block",
		Reason: "it runs 5 workers, and one is left for routes that do not block",
	},
	{
		Name: "tomcat", Title: "Tomcat", Concurrency: 8, More: "fewer than its threads, which other routes need too",
		Reason: "it has up to 200 threads, which the routes that do not block share",
	},
	{Name: "tornado", Title: "Tornado", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: overtakes},
	{Name: "uvicorn", Title: "uvicorn, ASGI", Concurrency: 1, Reason: oneLoop, More: moreLoops, KeepaliveOff: overtakes},
	{
		Name: "uwsgi", Title: "uWSGI", Concurrency: 1, More: workers,
		Reason: "it runs one process with one thread unless it is told otherwise",
	},
	{
		Name: "waitress", Title: "waitress", Concurrency: 3, More: "the number of its threads, less one for routes that do not block",
		Reason: "it runs 4 threads, and one is left for routes that do not block",
	},
}
