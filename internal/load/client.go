package load

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
	"syscall"
	"time"
)

// Client makes requests and says in one word or two how each of them ended.
type Client struct {
	http     *http.Client
	patience time.Duration // for a complete answer
}

// NewClient returns a client that waits as long as its patience for a complete
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

// Close gives up the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Digest tells answers apart without keeping them.
type Digest [sha256.Size]byte

// DigestOf returns the digest of an answer.
func DigestOf(body string) Digest { return sha256.Sum256([]byte(body)) }

// errImpatient ends a request whose client waited long enough.
var errImpatient = errors.New("the client's patience is at its end")

// Fetch makes one request. The answer must be a 200 with the body want, unless
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
	hash := sha256.New()
	if _, err := io.Copy(hash, res.Body); err != nil {
		return Digest{}, "", fmt.Errorf("%w: %w", errCutShort, err)
	}
	if res.StatusCode != http.StatusOK {
		return Digest{}, kindOfStatus(res), nil
	}
	return Digest(hash.Sum(nil)), Done, nil
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

// kindOfStatus names a status, with the reason if the answer tells one: a proxy
// in Proxy-Status, a service of the examples in X-Error.
func kindOfStatus(res *http.Response) string {
	kind := fmt.Sprintf("status %d", res.StatusCode)
	if name := res.Header.Get("X-Error"); name != "" {
		return kind + " " + name
	}
	if match := reason.FindStringSubmatch(strings.Join(res.Header["Proxy-Status"], ",")); match != nil {
		kind += " " + match[1]
	}
	return kind
}
