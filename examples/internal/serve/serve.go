// Package serve runs the HTTP servers of the examples until their context
// ends. It has no routes and no settings.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// patience is the time limit for handlers after the end of the context.
const patience = 2 * time.Second

// Until accepts connections on ln until ctx is done, then calls quit, which
// must make every handler return soon, and waits for them. quit can be nil. It
// closes ln and returns nil if it ended because of ctx.
func Until(ctx context.Context, ln net.Listener, srv *http.Server, quit func()) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	if quit != nil {
		quit()
	}
	// The context is done already, so the shutdown has a separate one.
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if srv.Shutdown(bye) != nil {
		// A client reads too slowly: a closed connection ends its handler.
		srv.Close()
	}
	if err == nil {
		err = <-failed
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving %s: %w", ln.Addr(), err)
}
