package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// client makes requests and says in one word or two how each of them ended.
type client struct {
	http     *http.Client
	patience time.Duration // how long it waits for a complete answer
}

func newClient(patience time.Duration) *client {
	return &client{
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 1000, // each of the clients keeps its connection
			DisableCompression:  true,
		}},
		patience: patience,
	}
}

// close gives up the idle connections.
func (c *client) close() { c.http.CloseIdleConnections() }

// digest tells answers apart without keeping them.
type digest [sha256.Size]byte

// errImpatient ends a request whose client waited long enough.
var errImpatient = errors.New("the client's patience is at its end")

// fetch makes one request. The answer must be a 200 with the body want, unless
// want is zero.
func (c *client) fetch(ctx context.Context, url string, want digest) (kind string) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience, errImpatient)
	defer cancel()
	got, kind, err := c.get(ctx, url)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errImpatient):
		return gaveUp
	case err != nil && ctx.Err() != nil:
		return unanswered
	case err != nil:
		return kindOf(err)
	case kind == done && want != digest{} && got != want:
		return "wrong body"
	}
	return kind
}

// get reads one answer to its end.
func (c *client) get(ctx context.Context, url string) (digest, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return digest{}, "", fmt.Errorf("asking %s: %w", url, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return digest{}, "", err
	}
	defer res.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, res.Body); err != nil {
		return digest{}, "", fmt.Errorf("%w: %w", errCutShort, err)
	}
	if res.StatusCode != http.StatusOK {
		return digest{}, kindOfStatus(res), nil
	}
	return digest(hash.Sum(nil)), done, nil
}

// errCutShort marks an answer that began and did not end.
var errCutShort = errors.New("body cut short")

// kindOf names what is wrong with a connection.
func kindOf(err error) string {
	var netErr *net.OpError
	switch {
	case errors.Is(err, errCutShort):
		return "body cut short"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection reset"
	case errors.As(err, &netErr):
		return "connection error in " + netErr.Op
	}
	return "connection error"
}

// reason finds the reason of a rejection in a Proxy-Status field.
var reason = regexp.MustCompile(`details="?([a-z_]+)`)

// kindOfStatus names a status, with the reason if the answer tells one.
func kindOfStatus(res *http.Response) string {
	kind := fmt.Sprintf("status %d", res.StatusCode)
	if match := reason.FindStringSubmatch(strings.Join(res.Header["Proxy-Status"], ",")); match != nil {
		kind += " " + match[1]
	}
	return kind
}

// load is a number of clients that ask for the same thing several times, each
// as soon as it has the answer to its last request.
type load struct {
	clients, each int
	url           string
	want          digest
}

// run returns when all requests are answered or lost, or soon after ctx is done.
func (l load) run(ctx context.Context, c *client, t *tally) {
	var clients sync.WaitGroup
	for range l.clients {
		clients.Go(func() {
			for range l.each {
				if ctx.Err() != nil {
					t.add(neverSent, 0)
					continue
				}
				t.measure(time.Now(), func() string { return c.fetch(ctx, l.url, l.want) })
			}
		})
	}
	clients.Wait()
}
