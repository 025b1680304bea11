//go:build unix

package lab

import (
	"bytes"
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strconv"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// Versions of Celery that are installed, the oldest first.
var Versions = []string{"5.2.6", "5.6.3", "5.7.0"}

// EndVersions are the oldest and the newest of them, for tests that need not run
// with each version.
func EndVersions() []string { return []string{Versions[0], Versions[len(Versions)-1]} }

//go:embed tasks.py
var tasks []byte

// Worker is a Celery worker.
type Worker struct {
	*server
	// Version of Celery.
	Version string
}

// WorkerOptions are the options of a worker.
type WorkerOptions struct {
	// Version of Celery. Default: the newest.
	Version string
	// Broker and Backend are URLs of Celery.
	Broker, Backend string
	// Slots is the number of tasks that run at the same time. Default: 4.
	Slots int
	// Pool of the worker. Default: "prefork".
	Pool string
	// Args of the command line.
	Args []string
	// Env has settings of tasks.py, such as PREFETCH=1.
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
	if o.Pool == "" {
		o.Pool = "prefork"
	}
	dir := folder(t, "worker")
	if err := os.WriteFile(filepath.Join(dir, "tasks.py"), tasks, 0o600); err != nil {
		t.Fatal(err)
	}
	p := services.Program{
		Name: "Celery " + o.Version, Dir: dir, Log: filepath.Join(dir, "log"), Farewell: startTimeout,
		Args: append([]string{
			installed(t, "celery-"+o.Version, "bin", "celery"), "-A", "tasks", "worker", "-P", o.Pool, "-c", strconv.Itoa(o.Slots),
			"-l", "INFO", "-n", "w@" + filepath.Base(filepath.Dir(dir)),
		}, o.Args...),
		Env: append([]string{"BROKER=" + o.Broker, "BACKEND=" + o.Backend, "PYTHONDONTWRITEBYTECODE=1"}, o.Env...),
	}
	ctx, cancel := starting()
	defer cancel()
	worker, err := services.StartServer(ctx, p, func(context.Context) error { return isReady(p.Log) })
	return &Worker{started(t, worker, err), o.Version}
}

// installed returns the folder of `.ci/celery`'s installation.
func installed(t Owner, path ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{cache, "caddy-offload"}, path...)...)
}

// isReady reads the log, in which a worker reports each start once.
func isReady(log string) error {
	text, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(" ready.")) {
		return errNotYet
	}
	return nil
}
