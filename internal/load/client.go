package load

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Client sends requests and returns the outcome of each one as a short text.
type Client struct {
	http     *http.Client
	patience time.Duration // longest time to a complete answer
}

// NewClient returns a client that waits at most patience for a complete
// answer.
func NewClient(patience time.Duration) *Client {
	return &Client{
		http: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 1000, // each of the clients keeps its connection
			DisableCompression:  true,
		}},
		patience: patience,
	}
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Digest identifies an answer without keeping it.
type Digest [sha256.Size]byte

// DigestOf returns the digest of an answer.
func DigestOf(body string) Digest { return sha256.Sum256([]byte(body)) }

// errImpatient is the cause of a request whose client stopped waiting.
var errImpatient = errors.New("the client's patience is at its end")

// Fetch sends one request. The answer must be a 200 with the body want, unless
// want is zero.
func (c *Client) Fetch(ctx context.Context, url string, want Digest) (kind string) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.patience, errImpatient)
	defer cancel()
	got, kind, err := c.Get(ctx, url)
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errImpatient):
		return GaveUp
	case err != nil && ctx.Err() != nil:
		return Unanswered
	case err != nil:
		return kindOf(err)
	case kind == Done && want != Digest{} && got != want:
		return "wrong body"
	}
	return kind
}

// Get reads one answer to its end. The kind is Done only if it is a 200.
func (c *Client) Get(ctx context.Context, url string) (Digest, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Digest{}, "", fmt.Errorf("asking %s: %w", url, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return Digest{}, "", err
	}
	defer res.Body.Close()
	hash, body := sha256.New(), &head{}
	if _, err := io.Copy(io.MultiWriter(hash, body), res.Body); err != nil {
		return Digest{}, "", fmt.Errorf("%w: %w", errCutShort, err)
	}
	if res.StatusCode != http.StatusOK {
		return Digest{}, kindOfStatus(res, *body), nil
	}
	return Digest(hash.Sum(nil)), Done, nil
}

// errCutShort means that an answer began and did not end.
var errCutShort = errors.New("body cut short")
