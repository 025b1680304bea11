//go:build integration

package backends

// setup is a way to run a real server, which is measured for the table of
// docs/backends.md.
type setup struct {
	backend
	// kind is its name for --backend. Empty: it has none, since its handlers only await.
	kind string
	// versions names the programs that it consists of.
	versions string
	// route is that of a request which takes its time; default hold.
	route string
	// recycle are arguments that make it end a worker after ten requests, for PHP-FPM a
	// line of its configuration.
	recycle string
	// ordinary set-ups are measured with every change.
	ordinary bool
}

// setups are in the order of the page. WORKERS stands for how many requests it takes at
// once, where that can be said: one, or more behind offload.
var setups = []setup{
	{backend: backend{name: "gunicorn, sync", args: "gunicorn --workers WORKERS --bind ADDR wsgi_app:app"}, kind: "gunicorn", versions: "gunicorn", recycle: "--max-requests 10", ordinary: true},
	{backend: backend{name: "gunicorn, gthread", args: "gunicorn --workers 1 --worker-class gthread --threads WORKERS --bind ADDR wsgi_app:app"}, kind: "gunicorn", versions: "gunicorn", recycle: "--max-requests 10", ordinary: true},
	{backend: backend{name: "gunicorn, gevent", args: "gunicorn --workers 1 --worker-class gevent --bind ADDR wsgi_app:app"}, kind: "gunicorn-gevent", versions: "gunicorn gevent"},
	{backend: backend{name: "gunicorn, asgi, loop blocked", args: "gunicorn --workers 1 --worker-class asgi --bind ADDR asgi_app:app"}, kind: "gunicorn-asgi", versions: "gunicorn", route: "block", recycle: "--max-requests 10"},
	{backend: backend{name: "gunicorn, asgi, awaiting", args: "gunicorn --workers 1 --worker-class asgi --bind ADDR asgi_app:app"}, versions: "gunicorn"},
	{backend: backend{name: "uvicorn, loop blocked", args: "uvicorn --log-level warning --port PORT asgi_app:app"}, kind: "uvicorn", versions: "uvicorn uvloop httptools", route: "block", recycle: "--workers 2 --limit-max-requests 10"},
	{backend: backend{name: "uvicorn, awaiting", args: "uvicorn --log-level warning --port PORT asgi_app:app"}, versions: "uvicorn uvloop httptools"},
	{backend: backend{name: "FastAPI async def, loop blocked", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/async"}, kind: "fastapi", versions: "fastapi uvicorn", route: "block", ordinary: true},
	{backend: backend{name: "FastAPI async def, awaiting", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/async"}, versions: "fastapi uvicorn"},
	{backend: backend{name: "FastAPI def", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/def"}, kind: "fastapi-def", versions: "fastapi uvicorn", ordinary: true},
	{backend: backend{name: "Django, WSGI (gunicorn, gthread)", args: "gunicorn --workers 1 --worker-class gthread --threads WORKERS --bind ADDR django_app:wsgi"}, kind: "django", versions: "Django gunicorn"},
	{backend: backend{name: "Django, ASGI, def views", args: "uvicorn --log-level warning --port PORT django_app:asgi"}, kind: "django-asgi", versions: "Django uvicorn", ordinary: true},
	{backend: backend{name: "Django, ASGI, async def views, awaiting", args: "uvicorn --log-level warning --port PORT django_app:asgi", root: "/async"}, kind: "django-asgi-await", versions: "Django uvicorn"},
	{backend: backend{name: "hypercorn, loop blocked", args: "hypercorn --bind ADDR asgi_app:app"}, kind: "hypercorn", versions: "hypercorn", route: "block", recycle: "--workers 2 --max-requests 10"},
	{backend: backend{name: "hypercorn, awaiting", args: "hypercorn --bind ADDR asgi_app:app"}, versions: "hypercorn"},
	{backend: backend{name: "Granian, WSGI", args: "granian --interface wsgi --workers 1 --blocking-threads WORKERS --port PORT wsgi_app:app"}, kind: "granian-wsgi", versions: "granian"},
	{backend: backend{name: "Granian, ASGI, loop blocked", args: "granian --interface asgi --workers 1 --port PORT asgi_app:app"}, kind: "granian", versions: "granian", route: "block"},
	{backend: backend{name: "Granian, ASGI, awaiting", args: "granian --interface asgi --workers 1 --port PORT asgi_app:app"}, versions: "granian"},
	{backend: backend{name: "waitress", args: "waitress-serve --threads WORKERS --listen ADDR wsgi_app:app"}, kind: "waitress", versions: "waitress", ordinary: true},
	{backend: backend{name: "uWSGI", args: "uwsgi --plugin python3 --http-socket ADDR --master --processes WORKERS --need-app --die-on-term --pythonpath . --wsgi wsgi_app:app"}, kind: "uwsgi", versions: "uwsgi", recycle: "--max-requests 10"},
	{backend: backend{name: "Sanic, loop blocked", args: "python sanic_app.py PORT"}, kind: "sanic", versions: "sanic", route: "block"},
	{backend: backend{name: "Sanic, awaiting", args: "python sanic_app.py PORT"}, kind: "sanic-await", versions: "sanic", ordinary: true},
	{backend: backend{name: "aiohttp, loop blocked", args: "python aiohttp_app.py PORT"}, kind: "aiohttp", versions: "aiohttp", route: "block"},
	{backend: backend{name: "aiohttp, awaiting", args: "python aiohttp_app.py PORT"}, versions: "aiohttp"},
	{backend: backend{name: "aiohttp, awaiting, handler_cancellation", args: "python aiohttp_app.py PORT cancel"}, kind: "aiohttp-await", versions: "aiohttp"},
	{backend: backend{name: "Tornado, loop blocked", args: "python tornado_app.py PORT"}, kind: "tornado", versions: "tornado", route: "block"},
	{backend: backend{name: "Tornado, awaiting", args: "python tornado_app.py PORT"}, versions: "tornado"},
	{backend: backend{name: "Daphne, loop blocked", args: "daphne --bind 127.0.0.1 --port PORT asgi_app:app"}, kind: "daphne", versions: "daphne", route: "block"},
	{backend: backend{name: "Daphne, awaiting", args: "daphne --bind 127.0.0.1 --port PORT asgi_app:app"}, versions: "daphne"},
	{backend: backend{name: "Node, loop blocked", args: "node node_app.js PORT"}, kind: "node", versions: "node", route: "block", ordinary: true},
	{backend: backend{name: "Node, awaiting", args: "node node_app.js PORT"}, versions: "node"},
	{backend: backend{name: "Express, loop blocked", args: "node node_app.js PORT express"}, kind: "express", versions: "express node", route: "block"},
	{backend: backend{name: "PHP-FPM", php: true}, kind: "php", versions: "php-fpm", recycle: "pm.max_requests=10", ordinary: true},
	{backend: backend{name: "Puma", args: "puma --quiet --threads WORKERS:WORKERS --bind tcp://ADDR --environment production config.ru"}, kind: "puma", versions: "puma ruby"},
	{backend: backend{name: "JDK HttpServer", args: "java -cp JARS JdkServer PORT"}, kind: "jdk", versions: "java"},
	{backend: backend{name: "Tomcat", args: "java -cp JARS TomcatServer PORT WORKERS FOLDER"}, kind: "tomcat", versions: "tomcat java"},
	{backend: backend{name: "Jetty", args: "java -cp JARS JettyServer PORT"}, kind: "jetty", versions: "jetty java"},
	{backend: backend{name: "Go, net/http", args: "SELF"}, kind: "go", versions: "go"},
	{backend: backend{name: "Starman", args: "starman --workers WORKERS --listen ADDR app.psgi"}, kind: "starman", versions: "starman", recycle: "--max-requests 10"},
	{backend: backend{name: "Apache with mod_wsgi, daemon", args: "/usr/sbin/apache2 -d FOLDER -f FOLDER/httpd.conf -DFOREGROUND"}, kind: "mod_wsgi", versions: "apache mod_wsgi"},
}

// path is that of a request which takes its time.
func (b setup) path() string {
	if b.route == "" {
		return "hold"
	}
	return b.route
}

// caddyfile names the block of the page that is played with it.
func (b setup) caddyfile() string {
	if b.kind == "" {
		return "awaiting"
	}
	return b.kind
}
