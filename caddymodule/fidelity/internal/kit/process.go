package kit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

const childEnv = "FIDELITY_CHILD"

// InProcessWith runs a test in a separate process, with one more environment variable, for
// settings that are read when a process starts.
func InProcessWith(t *testing.T, variable string, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(childEnv) != "" {
		test(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childEnv+"=1", variable)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// caddysRaces lists known data races of Caddy itself: it counts the bytes of bodies and of
// tunnels without a lock. A transport of HTTP/2 may still read a request's body when the
// answer has arrived, and a reload writes into tunnels while they are copied.
const caddysRaces = `
race:caddyhttp.(*lengthReader)
race:caddyhttp.(*hijackedConn)
race:reverseproxy.(*bodyNopCloserIfNotRead)
`

// BesidesCaddysRaces runs a test in which caddysRaces occur. The race detector still
// reports all other races.
func BesidesCaddysRaces(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if !testkit.Race {
		test(t)
		return
	}
	file := filepath.Join(t.TempDir(), "races")
	if err := os.WriteFile(file, []byte(caddysRaces), 0o600); err != nil {
		t.Fatal(err)
	}
	InProcessWith(t, "GORACE=suppressions="+file, test)
}
