//go:build unix

package lab

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Versions of Celery that are installed: the oldest and the newest.
var Versions = []string{"5.2.6", "5.6.3"}

//go:embed tasks.py
var tasks []byte

// Worker is a Celery worker.
type Worker struct{ process }

// WorkerOptions of a worker.
type WorkerOptions struct {
	// Version of Celery. Default: the newest.
	Version string
	// Broker and Backend as Celery takes them.
	Broker, Backend string
	// Slots is how many tasks run at once. Default: 4.
	Slots int
	// Threads instead of processes.
	Threads bool
	// Args of the command line.
	Args []string
	// Env holds settings of tasks.py, such as PREFETCH=1.
	Env []string
}

// StartWorker starts a worker that ends with the test.
func StartWorker(t Owner, o WorkerOptions) *Worker {
	t.Helper()
	if o.Version == "" {
		o.Version = Versions[len(Versions)-1]
	}
	if o.Slots == 0 {
		o.Slots = 4
	}
	pool := "prefork"
	if o.Threads {
		pool = "threads"
	}
	dir := folder(t, "worker")
	if err := os.WriteFile(filepath.Join(dir, "tasks.py"), tasks, 0o600); err != nil {
		t.Fatal(err)
	}
	w := new(Worker)
	w.process = process{
		t: t, name: "celery " + o.Version, path: celery(t, o.Version), dir: dir, up: w.ready,
		args: append([]string{"-A", "tasks", "worker", "-P", pool, "-c", strconv.Itoa(o.Slots), "-l", "INFO", "-n", "w@" + filepath.Base(filepath.Dir(dir))}, o.Args...),
		env:  append([]string{"BROKER=" + o.Broker, "BACKEND=" + o.Backend, "PYTHONDONTWRITEBYTECODE=1"}, o.Env...),
	}
	t.Cleanup(w.Kill)
	w.start()
	return w
}

// celery finds one that `.ci/celery` has installed.
func celery(t Owner, version string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return program(t, filepath.Join(cache, "caddy-offload", "celery-"+version, "bin", "celery"))
}

func (w *Worker) ready(context.Context) error {
	// It says so once for each start.
	if strings.Contains(w.Log(), " ready.") {
		return nil
	}
	return errNotYet
}
