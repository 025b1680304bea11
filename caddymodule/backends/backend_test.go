//go:build integration

package backends

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/services"
	"github.com/caddy-offload/caddy-offload/internal/testkit/lab"
)

// backend is a real server. Each takes far more requests at once than the pool in
// front of it has permits, so that it is the pool that bounds them.
type backend struct {
	name string
	// args is the command, of Python unless it is node; PORT stands for its port.
	args string
	// root is put in front of its paths.
	root string
	// php says that it speaks FastCGI.
	php bool
}

var backends = []backend{
	{name: "gunicorn sync", args: "gunicorn --workers 10 --bind 127.0.0.1:PORT wsgi_app:app"},
	{name: "gunicorn gthread", args: "gunicorn --workers 1 --worker-class gthread --threads 16 --bind 127.0.0.1:PORT wsgi_app:app"},
	{name: "FastAPI def", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/def"},
	{name: "FastAPI async def", args: "uvicorn --log-level warning --port PORT fastapi_app:app", root: "/async"},
	{name: "Sanic", args: "python sanic_app.py PORT"},
	{name: "aiohttp", args: "python aiohttp_app.py PORT"},
	{name: "waitress", args: "waitress-serve --threads 16 --listen 127.0.0.1:PORT wsgi_app:app"},
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
	journal journal
}

func (b backend) serve(t *testing.T, commands string) *served {
	t.Helper()
	port := lab.Port(t)
	root, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	s := &served{b, services.Loopback + ":" + port, root, journal(filepath.Join(folder, "journal"))}
	args := strings.Fields(strings.ReplaceAll(b.args, "PORT", port))
	switch {
	case b.php:
		args = []string{phpFPM(t), "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", phpConfig(t, folder, s.addr)}
	case args[0] != "node":
		args[0] = filepath.Join(commands, args[0])
	}
	start(t, services.Program{
		Name: b.name, Args: args, Dir: root, Log: filepath.Join(folder, "log"),
		Env: []string{"JOURNAL=" + string(s.journal), "PYTHONDONTWRITEBYTECODE=1"},
	}, s.addr)
	return s
}

// start starts a server that ends with the test.
func start(t *testing.T, p services.Program, addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	server, err := services.StartServer(ctx, p, services.Listening(addr))
	if err != nil {
		t.Fatalf("%v (has .ci/backends been run?)", err)
	}
	t.Cleanup(server.Kill)
}

// pythonCommands is the folder of the commands of what testdata/requirements.txt
// lists, which .ci/backends installs.
func pythonCommands(t *testing.T) string {
	t.Helper()
	commands, err := services.PythonCommands(t.Context(), filepath.Join("testdata", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return commands
}

// phpFPM finds the program, which has its version in its name and stands where only
// root looks.
func phpFPM(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/usr/sbin/php-fpm*", "/usr/local/sbin/php-fpm*"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	found, err := exec.LookPath("php-fpm")
	if err != nil {
		t.Fatalf("%v (has .ci/backends been run?)", err)
	}
	return found
}

func phpConfig(t *testing.T, folder, addr string) string {
	t.Helper()
	owner := ""
	if os.Geteuid() == 0 {
		owner = "user = root\ngroup = root\n"
	}
	config := filepath.Join(folder, "fpm.conf")
	text := fmt.Sprintf("[global]\nerror_log = %s/fpm.log\n[www]\nlisten = %s\npm = static\npm.max_children = 10\nclear_env = no\n"+
		"php_admin_value[output_buffering] = 0\n%s", folder, addr, owner)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config
}

// handler is the directive that hands requests on to the backend.
func (s *served) handler() string {
	if !s.php {
		return "rewrite * " + s.backend.root + "{uri}\n\t\treverse_proxy " + s.addr
	}
	return "rewrite * /app.php{uri}\n\t\treverse_proxy " + s.addr + " {\n\t\t\ttransport fastcgi {\n\t\t\t\troot " + s.root + "\n\t\t\t\tsplit .php\n\t\t\t}\n\t\t}"
}
