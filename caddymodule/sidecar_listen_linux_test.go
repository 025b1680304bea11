package caddymodule_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A sidecar opens the listener of --from, and no other. It serves requests for any host
// there, so that a probe by another name gets the answer of the service, not an empty one.
func TestSidecarListensThereOnly(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Host+" is down", http.StatusInternalServerError)
	}))
	defer upstream.Close()
	tests := map[string]struct{ from, dial, listens string }{
		"address":       {"127.0.0.1:PORT", "http://127.0.0.1:PORT", "0100007F:PORT"},
		"url":           {"http://127.0.0.1:PORT", "http://127.0.0.1:PORT", "0100007F:PORT"},
		"other address": {"127.0.0.2:PORT", "http://127.0.0.2:PORT", "0200007F:PORT"},
		"name":          {"localhost:PORT", "http://localhost:PORT", "0100007F:PORT"},
		"port":          {"PORT", "http://127.0.0.1:PORT", "00000000000000000000000000000000:PORT"},
		"HTTPS":         {"https://127.0.0.1:PORT", "https://127.0.0.1:PORT", "0100007F:PORT"},
		"named HTTPS":   {"https://localhost:PORT", "https://127.0.0.1:PORT", "0100007F:PORT"},
		"socket":        {"unix/SOCKET|0600", "unix", "SOCKET"},
	}
	if ln, err := net.Listen("tcp", "[::1]:0"); err == nil {
		ln.Close()
		tests["IPv6"] = struct{ from, dial, listens string }{"[::1]:PORT", "http://[::1]:PORT", "00000000000000000000000001000000:PORT"}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(site.FreeAddr(t))
			socket := filepath.Join(t.TempDir(), "socket")
			fill := strings.NewReplacer("PORT", port, "SOCKET", socket).Replace
			cmd := caddyCommand(t, "offload", "run", "--admin", "off", "--from", fill(test.from), "--to", upstream.Listener.Addr().String())
			out := new(lockedBuffer)
			cmd.Stdout, cmd.Stderr = out, out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(os.Interrupt)
				_ = cmd.Wait() // it ends by the signal, whatever its exit code is
			})
			testkit.Eventually(t, func() bool { return strings.Contains(out.String(), "caddy offload: ") })
			testkit.Eventually(t, func() bool { // its certificate takes a moment
				return strings.HasPrefix(askSidecar(t, fill(test.dial), socket, "example.com"), "500 ")
			})
			for _, host := range []string{"example.com", "localhost", "127.0.0.1:" + port} {
				want := fmt.Sprintf("500 %s is down\n", host)
				if got := askSidecar(t, fill(test.dial), socket, host); got != want {
					t.Errorf("for %s it answers %q, want %q\n%s", host, got, want, out)
				}
			}
			want := strings.NewReplacer("PORT", fmt.Sprintf("%04X", atoi(t, port)), "SOCKET", socket).Replace(test.listens)
			if got := listening(t, cmd.Process.Pid); !slices.Equal(got, []string{want}) {
				t.Errorf("it listens at %v, want %s", got, want)
			}
		})
	}
}

func atoi(t *testing.T, text string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// askSidecar returns status and body for a request for a host. With HTTPS the handshake
// names the host as well.
func askSidecar(t *testing.T, url, socket, host string) string {
	t.Helper()
	name, _, _ := strings.Cut(host, ":")
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
	defer transport.CloseIdleConnections()
	if url == "unix" {
		url = "http://unix"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return fmt.Sprint(res.StatusCode, " ", string(body))
}

// listening returns where a process listens, as the kernel writes it: all sockets of
// TCP that listen, of UDP, and of the file system.
func listening(t *testing.T, pid int) (all []string) {
	t.Helper()
	proc := fmt.Sprint("/proc/", pid)
	own := map[string]bool{}
	fds, err := filepath.Glob(proc + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	for _, table := range []struct {
		name                string
		local, state, inode int
		listens             string
	}{
		{"tcp", 1, 3, 9, "0A"}, {"tcp6", 1, 3, 9, "0A"}, {"udp", 1, 3, 9, "07"}, {"udp6", 1, 3, 9, "07"}, {"unix", 7, 3, 6, "00010000"},
	} {
		text, err := os.ReadFile(proc + "/net/" + table.name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > max(table.local, table.inode) && fields[table.state] == table.listens && own[fields[table.inode]] {
				all = append(all, fields[table.local])
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
