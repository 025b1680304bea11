//go:build integration

package clients

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-offload/caddy-offload/caddymodule"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

var (
	all  = flag.Bool("clients.all", false, "also Java and Firefox, and an overload of a minute")
	anew = flag.Bool("clients.write", false, "all clients, and write docs/clients.json")
)

// asCaddy in the environment makes the test binary a Caddy.
const asCaddy = "OFFLOAD_TEST_AS_CADDY"

// labProgram has the clients in Go and the gRPC backend.
var labProgram string

func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddycmd.Main()
		return
	}
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "offload-clients")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	labProgram = filepath.Join(folder, "lab")
	if err := testkit.BuildLab(labProgram); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	endChromium, err := startChromium()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	endChromium()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// long reports whether the clients of the long form take part.
func long() bool { return *all || *anew }

// cacheFolder is a folder that .ci/clients fills.
func cacheFolder(of string) string {
	cache, err := os.UserCacheDir()
	if err != nil {
		panic(err)
	}
	return filepath.Join(cache, "caddy-offload", "clients", of)
}
