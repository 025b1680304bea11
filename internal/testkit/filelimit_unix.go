//go:build unix

package testkit

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
)

const fileLimitEnv = "TESTKIT_FILE_LIMIT"

// WithFileLimit runs a test in a separate process in which no file can grow
// beyond the given number of bytes. To the program this looks like a full
// disk.
func WithFileLimit(t *testing.T, bytes uint64, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv(fileLimitEnv) != "" {
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: bytes, Max: bytes}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		test(t)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), fileLimitEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
