//go:build integration

package backends

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// backend is a real server. Each takes far more requests at once than the pool in
// front of it has permits, so that it is the pool that bounds them.
type backend struct {
	name string
	// args is the command, of Python if there is one of that name. Words in it that are
	// filled in: see fill.
	args string
	// root is put in front of its paths.
	root string
	// php means that it speaks FastCGI.
	php bool
}

var backends = []backend{
	{name: "gunicorn sync", args: "gunicorn --workers 10 --bind ADDR wsgi_app:app"},
	{name: "gunicorn gthread", args: "gunicorn --workers 1 --worker-class gthread --threads 16 --bind ADDR wsgi_app:app"},
	{name: "FastAPI def", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/def"},
	{name: "FastAPI async def", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/async"},
	{name: "Sanic", args: "python sanic_app.py PORT"},
	{name: "aiohttp", args: "python aiohttp_app.py PORT"},
	{name: "waitress", args: "waitress-serve --threads 16 --listen ADDR wsgi_app:app"},
	{name: "Node", args: "node node_app.js PORT"},
	{name: "PHP-FPM", php: true},
}

// startTimeout is how long a server may take to come up on a busy machine.
const startTimeout = 90 * time.Second

// served is a backend that runs until the test ends.
type served struct {
	backend
	addr    string
	root    string // folder of its sources
	folder  string // used by this server only
	journal journal
}

// start is how a backend is started.
type start struct {
	workers int    // requests that it takes at once, if that can be said
	extra   string // arguments behind the command, or a line of a configuration
}

func (b backend) serve(t *testing.T, commands string, how start) (*served, error) {
	t.Helper()
	port := lab.Port(t)
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	folder := openFolder(t)
	s := &served{b, services.Loopback + ":" + port, root, folder, journal(filepath.Join(folder, "journal"))}
	s.journal.create(t)
	args := s.fill(b.args, how.workers)
	switch {
	case b.php:
		fpm, err := services.PHPFPM(s.addr, folder, how.workers, how.extra)
		if err != nil {
			t.Fatal(err)
		}
		args = fpm.Args
	case strings.Contains(b.args, "httpd.conf"):
		s.writeHTTPDConfig(t, how.workers)
	default:
		if own := filepath.Join(commands, args[0]); fileExists(own) {
			args[0] = own
		}
		args = slices.Insert(args, 1, strings.Fields(how.extra)...)
	}
	return s, run(t, services.Program{
		Name: b.name, Args: args, Dir: root, Log: filepath.Join(folder, "log"),
		Env: append(installed(), "JOURNAL="+string(s.journal), "PYTHONDONTWRITEBYTECODE=1", asGo+"="+s.addr),
	}, s.addr)
}

// fill inserts the values that are known only when a backend starts.
func (s *served) fill(text string, workers int) []string {
	_, port, _ := strings.Cut(s.addr, ":")
	return strings.Fields(strings.NewReplacer(
		"PORT", port, "ADDR", s.addr, "WORKERS", strconv.Itoa(workers), "FOLDER", s.folder, "SELF", os.Args[0],
		"JARS", cacheFolder("java")+"/classes:"+cacheFolder("java")+"/*",
	).Replace(text))
}

// writeHTTPDConfig also copies the files that Apache reads after it has dropped root.
func (s *served) writeHTTPDConfig(t *testing.T, workers int) {
	t.Helper()
	for _, name := range []string{"wsgi_app.py", "journal.py"} {
		text, err := os.ReadFile(filepath.Join(s.root, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(s.folder, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(s.root, "apache", "httpd.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, strings.Join(s.fill(line, workers), " "))
	}
	if err := os.WriteFile(filepath.Join(s.folder, "httpd.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// openFolder returns a folder that servers can use after they have dropped root.
func openFolder(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, path := range []string{filepath.Dir(folder), folder} {
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// cacheFolder is where .ci/backends keeps servers that have no package.
func cacheFolder(of string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return of
	}
	return filepath.Join(cache, "caddy-offload", "backends", of)
}

// installed is the environment in which servers find it.
func installed() []string {
	return []string{"NODE_PATH=" + filepath.Join(cacheFolder("node"), "node_modules")}
}

// run starts a server that ends with the test.
func run(t *testing.T, p services.Program, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := services.StartServer(ctx, p, services.Listening(addr))
	if err != nil {
		return fmt.Errorf("%w (has .ci/backends been run?)", err)
	}
	t.Cleanup(server.Kill)
	return nil
}

// pythonCommands is the folder of the commands of the packages in
// testdata/requirements.txt, which .ci/backends installs.
func pythonCommands(t *testing.T) string {
	t.Helper()
	commands, err := services.PythonCommands(t.Context(), filepath.Join("testdata", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return commands
}

// signal reaches the first process alone, which has written its number.
func (s *served) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, signal)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// handler is the directive that hands requests on to the backend.
func (s *served) handler() string {
	if s.php {
		return "root * " + s.root + "/php\n\t\tphp_fastcgi " + s.addr
	}
	return "rewrite * " + s.backend.root + "{uri}\n\t\treverse_proxy " + s.addr
}
