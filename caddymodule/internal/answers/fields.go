package answers

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/grpccall"
)

// IDField is the header field with the ID of a request that this package answers.
const IDField = "Offload-Request-Id"

// Header fields that say when to send a request again, and whether to, and why it failed.
const (
	retryField       = "Retry-After"
	retryMsField     = "Retry-After-Ms"
	shouldRetryField = "X-Should-Retry"
	proxyField       = "Proxy-Status"
)

// Exposed are the fields that scripts of other origins can use.
var Exposed = []string{retryField, retryMsField, IDField}

// Describe sets the header fields of an answer that do not depend on the kind of client.
//
// Vary is not needed: no cache stores these answers.
func (a Answer) Describe(h http.Header) {
	NoStore(h)
	h.Set(IDField, a.ID)
	if a.Proxy != "" {
		h.Add(proxyField, a.member(true))
	}
	if a.comesBack() {
		h.Set(retryField, strconv.Itoa(a.retrySeconds()))
		h.Set(retryMsField, strconv.FormatInt(a.retryMs(), 10))
	}
	if a.final {
		h.Set(shouldRetryField, "false")
	}
}

// DescribeCall sets the fields of gRPC, whose clients read no others. Their libraries send
// a call again after the time in the field pushback, and not at all if that is negative.
func (a Answer) DescribeCall(h http.Header) {
	grpccall.SetStatus(h, a.GRPC, a.Reason.Text())
	switch {
	case a.final:
		grpccall.SetPushback(h, -1)
	case a.comesBack():
		grpccall.SetPushback(h, a.retryMs())
	}
}

// DescribeCallAtEnd is DescribeCall for a response whose head is sent before its end. It
// puts the status into trailers, since clients take a status in such a head for a broken
// stream.
func (a Answer) DescribeCallAtEnd(h http.Header) {
	call := make(http.Header)
	a.DescribeCall(call)
	for name, values := range call {
		if name != "Content-Type" {
			name = http.TrailerPrefix + name
		}
		h[name] = values
	}
}

// comesBack reports whether the client should come back.
func (a Answer) comesBack() bool { return a.Retry.Turn > 0 }

// retrySeconds returns the time to come back for fields with whole seconds. It is never
// zero, which would mean "at once".
func (a Answer) retrySeconds() int { return a.Retry.Seconds }

func (a Answer) retryMs() int64 { return (a.Retry.Turn + time.Millisecond - 1).Milliseconds() }

// NoStore forbids caches to store an answer of this package, although the site may have
// allowed it before for answers of its backend. Fields that the site sets afterwards still
// count, as in error routes and in deferred operations.
func NoStore(h http.Header) {
	for name := range h {
		if name == "Surrogate-Control" || strings.HasSuffix(name, "-Cache-Control") { // for caches of one kind
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}

// member returns this server's member of the field Proxy-Status. For an answer that is no
// error it has only the details: an error would mean that the client did not get what it
// asked for (RFC 9209, section 2.1.1).
func (a Answer) member(fails bool) string {
	item := httpsfv.NewItem(proxyName(a.Proxy))
	if fails {
		item.Params.Add("error", a.proxyError)
	}
	item.Params.Add("details", a.Reason.String())
	if a.Budget != "" {
		item.Params.Add("budget", httpsfv.Token(a.Budget))
	}
	text, err := httpsfv.Marshal(httpsfv.List{item})
	if err != nil {
		return "" // cannot happen: the name was checked
	}
	return text
}

// proxyName returns a name as a token if it can be one, otherwise as a string; Proxy-Status
// allows both.
func proxyName(name string) any {
	if _, err := httpsfv.Marshal(httpsfv.NewItem(httpsfv.Token(name))); err == nil {
		return httpsfv.Token(name)
	}
	return name
}

// ValidProxyName reports whether a proxy can have that name in Proxy-Status fields.
func ValidProxyName(name string) bool {
	_, err := httpsfv.Marshal(httpsfv.NewItem(proxyName(name)))
	return err == nil
}
