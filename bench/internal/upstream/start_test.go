package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/bench/internal/journal"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// asUpstream makes the program of the tests an upstream.
const asUpstream = "upstream-of-a-test"

func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != asUpstream {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := Serve(ctx, os.Stdin, os.Stdout); err != nil {
		panic(err)
	}
}

// returning starts an upstream that has a journal and can come back.
func returning(t *testing.T, service time.Duration) *Upstream {
	t.Helper()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	// The context of a test ends before its cleanup, and would kill the process.
	ctx := context.WithoutCancel(t.Context())
	u, err := Start(ctx, []string{os.Args[0], asUpstream}, Config{
		Addr: addr, Journal: filepath.Join(t.TempDir(), "journal"), Health: "/health",
		Routes: map[string]Route{"/slow": {Service: service, Size: 3}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Stop(); err != nil {
			t.Error(err)
		}
	})
	if u.Addr != addr {
		t.Fatalf("serves %s, want %s", u.Addr, addr)
	}
	return u
}

// post sends request 7 and returns its status, 0 for an error.
func post(ctx context.Context, u *Upstream, path string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.Addr+path, strings.NewReader("body"))
	if err != nil {
		return 0
	}
	request.Header.Set(journal.Header, "7")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0
	}
	return response.StatusCode
}

// kinds returns the kinds of all entries of an upstream.
func kinds(t *testing.T, u *Upstream) string {
	t.Helper()
	entries, err := u.Journal()
	if err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(entries))
	for i, e := range entries {
		words[i] = string(e.Kind)
		if run := e.Kind == journal.Arrived || e.Kind == journal.Read || e.Kind == journal.Left; run != (e.Number == 7) {
			t.Errorf("entry %+v", e)
		}
	}
	return strings.Join(words, " ")
}

// inside returns when a run is inside the upstream.
func inside(t *testing.T, u *Upstream) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		stats, err := u.Stats(t.Context())
		return err == nil && stats.Inside == 1
	})
}

func refuses(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

func TestAKilledUpstreamComesBack(t *testing.T) {
	u := returning(t, time.Hour)
	status := make(chan int, 1)
	go func() { status <- post(t.Context(), u, "/slow") }()
	inside(t, u)
	if err := u.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Receive(t, status); got != 0 || !refuses(u.Addr) {
		t.Errorf("status %d of a killed upstream, refuses connections: %v", got, refuses(u.Addr))
	}
	if err := u.Return(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if refuses(u.Addr) {
		t.Error("the upstream is not back at its address")
	}
	if got, want := kinds(t, u), "serves arrived read killed serves"; got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
}

func TestAnUpstreamFinishesItsRuns(t *testing.T) {
	u := returning(t, 300*time.Millisecond)
	status := make(chan int, 1)
	go func() { status <- post(t.Context(), u, "/slow") }()
	inside(t, u)
	if err := u.Finish(); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Receive(t, status); got != http.StatusOK || !refuses(u.Addr) {
		t.Errorf("status %d of a run that was inside, refuses connections: %v", got, refuses(u.Addr))
	}
	if got, want := kinds(t, u), "serves arrived read left"; got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
}

func TestHealthChecksAreNoRuns(t *testing.T) {
	u := returning(t, 0)
	for _, well := range []bool{true, false, true} {
		if err := u.SetHealth(t.Context(), well); err != nil {
			t.Fatal(err)
		}
		want := http.StatusServiceUnavailable
		if well {
			want = http.StatusOK
		}
		if got := post(t.Context(), u, "/health"); got != want {
			t.Errorf("well %v: status %d, want %d", well, got, want)
		}
	}
	if got, want := kinds(t, u), "serves well ill well"; got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
	if stats, err := u.Stats(t.Context()); err != nil || stats.MaxInside != 0 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}
