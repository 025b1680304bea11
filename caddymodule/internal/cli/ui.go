package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admincommand"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/statuspage"
)

// Times of the server of "ui".
const (
	uiHeaderTimeout = 10 * time.Second
	uiGrace         = 2 * time.Second
)

func uiCommand() command {
	var listen string
	var actions bool
	return command{
		use: "ui [--listen ADDRESS] [--actions]", short: "Serves the status page to browsers on this machine until Ctrl-C", args: cobra.NoArgs,
		long: `
Serves the page of the directive "offload_status" on a loopback address, with the numbers
of a running server, and prints its URL. Other machines cannot connect; programs of other
users of this machine can. With --actions the page can change pools.`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "The loopback address to listen on; port 0 is a free port")
			cmd.Flags().BoolVar(&actions, "actions", false, "Allow actions, such as pausing a pool")
		},
		run: func(s *call) error {
			ctx, stop := signal.NotifyContext(s.Cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return s.ui(ctx, listen, actions)
		},
	}
}

// ui serves the page until ctx ends.
func (s *call) ui(ctx context.Context, listen string, actions bool) error {
	if err := checkLoopback(listen); err != nil {
		return err
	}
	if _, err := s.poolNames(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	page := statuspage.New(statuspage.NewHub(remote{s.Server}), statuspage.Options{
		Actions: actions, ActionsHint: "start 'caddy offload ui' with --actions",
	})
	server := &http.Server{Handler: onlyHere(page), ReadHeaderTimeout: uiHeaderTimeout}
	fmt.Fprintf(s.Out, "http://%s/\n", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		page.Close()
		return fmt.Errorf("serving the page: %w", err)
	case <-ctx.Done():
	}
	page.Close()
	grace, cancel := context.WithTimeout(context.Background(), uiGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close()
	}
	<-served //nolint:errcheck // it says that the server was closed
	return nil
}

// checkLoopback rejects an address that other machines could reach.
func checkLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("bad --listen address '%s': want a loopback address with a port, as in 127.0.0.1:8081", listen)
	}
	if !isLoopback(host) {
		return fmt.Errorf("bad --listen address '%s': only loopback addresses are allowed, since the page has no authentication; to show it to others use the directive 'offload_status' behind 'basic_auth'", listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// onlyHere serves the page only for host names of this machine. A page of another site can
// make its own name resolve to this machine, and a browser then sends that name.
func onlyHere(page *statuspage.Page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if !isLoopback(strings.Trim(host, "[]")) {
			http.Error(w, "this page is for localhost only, not for the host of this request", http.StatusMisdirectedRequest)
			return
		}
		if err := page.ServeHTTP(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}

// remote is a server as the source of a status page.
type remote struct{ server admincommand.Server }

// Status requests the numbers of the server.
func (r remote) Status(_ context.Context, pools []string) (*admin.Status, error) {
	status := new(admin.Status)
	_, err := r.server.Get("status?"+url.Values{"pool": pools}.Encode(), status)
	return status, err
}

// Get reads a path of the server.
func (r remote) Get(_ context.Context, path string, into any) error {
	_, err := r.server.Get(path, into)
	return err
}

// Do performs an action.
func (r remote) Do(_ context.Context, method, path string, body any) error {
	_, err := r.server.Do(method, path, body, nil)
	if rejected, ok := errors.AsType[*admincommand.ServerError](err); ok {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: rejected}
	}
	return err
}
