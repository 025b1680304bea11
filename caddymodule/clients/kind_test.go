//go:build integration

package clients

import (
	"path/filepath"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/services"
)

// kind is a client, used in one way.
type kind struct {
	name string // as in internal/clients
	// command starts its driver; nil: it is a command line, see commandLines.
	command func(t *testing.T, name string) []string
	// retries means that it comes back by itself at the announced time. For others the
	// driver has a loop, as their users would write it.
	retries bool
	grpc    bool
	http2   bool // speaks HTTP/2 to https
	// givesUp is in the error with which it ends retries, and which has no status; empty:
	// its caller always sees the answer.
	givesUp string
	// stubborn means that it ignores Retry-After.
	stubborn bool
	noBody   bool // it does not show that of an error
	long     bool
}

var kinds = []kind{
	{name: "urllib", command: python},
	{name: "urllib3", command: python, retries: true},
	{name: "requests", command: python, retries: true, givesUp: "RetryError"},
	{name: "httpx", command: python, http2: true},
	{name: "httpx-async", command: python, http2: true},
	{name: "aiohttp", command: python},
	{name: "grpcio", command: python, grpc: true, retries: true},
	{name: "undici", command: node, http2: true},
	{name: "undici-retry", command: node, retries: true, givesUp: "TypeError: fetch failed"},
	{name: "got", command: node, retries: true},
	{name: "net-http", command: inGo, http2: true},
	{name: "retryablehttp", command: inGo, retries: true, http2: true, givesUp: "giving up after"},
	{name: "grpc-go", command: inGo, grpc: true, retries: true},
	{name: "curl", retries: true, http2: true},
	{name: "wget", stubborn: true, noBody: true},
	{name: "jdk", command: java, long: true},
	{name: "apache", command: java, retries: true, long: true},
	{name: "okhttp", command: java, long: true},
}

// here are those that take part.
func here() []kind {
	var some []kind
	for _, k := range kinds {
		if !k.long || long() {
			some = append(some, k)
		}
	}
	return some
}

func python(t *testing.T, name string) []string {
	t.Helper()
	commands, err := services.PythonCommands(t.Context(), filepath.Join("testdata", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return []string{filepath.Join(commands, "python"), filepath.Join("testdata", "python", "client.py"), name}
}

func node(_ *testing.T, name string) []string {
	return []string{"node", filepath.Join("testdata", "node", "client.mjs"), cacheFolder("node"), name}
}

func inGo(_ *testing.T, name string) []string { return []string{labProgram, "client", name} }

func java(_ *testing.T, name string) []string {
	folder := cacheFolder("java")
	return []string{"java", "-Xmx256m", "-cp", filepath.Join(folder, "classes") + ":" + filepath.Join(folder, "*"), "Client", name}
}

// open returns the client, which ends with the test.
func (k kind) open(t *testing.T) caller {
	t.Helper()
	if k.command == nil {
		return commandLines[k.name](t)
	}
	return startDriver(t, k.command(t, k.name))
}
