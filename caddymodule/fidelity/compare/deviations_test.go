package compare

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// deviation is a difference from plain Caddy that is meant.
type deviation struct {
	what, reason string
	// applies reports whether the deviation occurs there.
	applies func(o offloading, tr *trial, version string) bool
	// expect changes the record of plain Caddy into the one that offload must have.
	// If all is different, it may check that of offload and copy it.
	expect func(want, got *exchange, tr *trial)
}

// deviations are all that DESIGN.md, docs/ and the decisions allow.
var deviations = []deviation{
	{
		what:   "an upload of unknown length that was spooled goes on with a Content-Length",
		reason: "its length is known then, and upstreams without support for chunks take it",
		applies: func(o offloading, tr *trial, version string) bool {
			untold := tr.body.untold || (version == "h3" && tr.body.open == nil)
			return o.keeps(tr) && untold && len(tr.trailers) == 0
		},
		expect: func(want, _ *exchange, tr *trial) {
			for i := range want.upstream {
				tellLength(&want.upstream[i], tr.body)
			}
		},
	},
	{
		what:   "an upload of unknown length that was spooled gets as far as FastCGI",
		reason: "its length is known then; without it the transport must refuse it with 411",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keeps(tr) && tr.has(needsLength)
		},
		expect: func(want, got *exchange, tr *trial) {
			if len(got.upstream) == 1 && int64(len(got.upstream[0].body)) == tr.body.length {
				*want = *got.clone()
			}
		},
	},
	{
		what:   "a request whose body was read is not tried again without its body",
		reason: "reverse_proxy sends an upload of unknown length again as an empty one, unless request_buffers are set",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keeps(tr) && tr.has(triedAgain)
		},
		expect: func(want, got *exchange, _ *trial) {
			if strings.Contains(got.answers[0].start, " 502") {
				*want = *got.clone()
			}
		},
	},
	{
		what:   "a spooled body has been read, also if its upstream never asks for it",
		reason: "slow uploads must hold no permit, so they come first; the access log counts them",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keeps(tr) && tr.body.open != nil && !tr.has(staysInFront)
		},
		expect: func(want, _ *exchange, tr *trial) {
			setField(want.log, "(read)", tr.body.length)
		},
	},
	{
		what:   "a large body that nobody reads does not cost the connection",
		reason: "it is in the spool; net/http reads 256 KiB and then closes",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keeps(tr) && tr.has(leftUnread) && slices.Contains(http1, version)
		},
		expect: func(want, got *exchange, _ *trial) {
			if strings.HasPrefix(got.after, "open") {
				want.after = got.after
				dropField(&want.answers[0], "Connection")
			}
		},
	},
	{
		what:   "the 100 Continue for a spooled body is ours, and Expect is not sent on",
		reason: "the client has sent all when the run starts; DESIGN.md",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keeps(tr) && tr.has(expects) && (tr.body.open != nil || version == "h3")
		},
		expect: func(want, _ *exchange, _ *trial) {
			for i := range want.upstream {
				dropField(&want.upstream[i], "Expect")
			}
		},
	},
	{
		what:   "a client on HTTP/3 that sends Expect gets a 100 Continue for a spooled body in any case",
		reason: "it must have been asked before the run; reverse_proxy hands on the upstream's, if there is one",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keeps(tr) && tr.has(expects) && version == "h3"
		},
		expect: func(want, _ *exchange, _ *trial) { want.informed = []message{{start: "100"}} },
	},
	{
		what:   "a client on HTTP/1.0 gets no 100 Continue for a spooled body",
		reason: "it must not get any (RFC 9110, 10.1.1); reverse_proxy hands on the upstream's",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keeps(tr) && tr.has(expects) && version == "h1.0"
		},
		expect: func(want, _ *exchange, _ *trial) { want.informed = nil },
	},
	{
		what:   "a body that cannot be read is answered with 400, and its upstream sees nothing of it",
		reason: "it is the client's fault, and known before the run; reverse_proxy says 502. What is made here is not for caches",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keeps(tr) && tr.has(brokenUpload)
		},
		expect: func(want, got *exchange, _ *trial) {
			want.upstream, want.after = nil, "closed"
			want.answers[0].start = "HTTP/1.1 400 Bad Request"
			for _, field := range []string{"Connection: close", "Cache-Control: no-store"} {
				want.answers[0].fields = append(want.answers[0].fields, field)
				want.addToLog(field)
			}
			sortBoth(want, got)
			setField(want.log, "(status)", http.StatusBadRequest)
		},
	},
	{
		what:   "of many 1xx only the first 32 are passed on",
		reason: "no server sends many; a broken one could send them without end",
		applies: func(_ offloading, tr *trial, _ string) bool {
			return tr.has(flood)
		},
		expect: func(want, _ *exchange, _ *trial) {
			want.informed = want.informed[:min(32, len(want.informed))]
		},
	},
	{
		what:   "an answer whose length nobody has declared may lack the length that the server would find out",
		reason: "what has begun is handed on after a millisecond (decision 005); the server knows lengths of what it still has",
		applies: func(o offloading, tr *trial, _ string) bool {
			return o.keepsReply && tr.has(unmeasured)
		},
		expect: func(want, got *exchange, _ *trial) {
			want.answers[0].fields = withLengthOf(want.answers[0].fields, got.answers[0].fields)
			want.log = withLengthOf(want.log, got.log)
		},
	},
	{
		what:   "an answer that is longer or shorter than it says is cut by a reset on HTTP/2 and 3",
		reason: "that is what net/http does on HTTP/1; else it ends streams and leaves it to clients to notice",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keepsReply && tr.has(misstated) && slices.Contains(notHTTP1, version)
		},
		expect: func(want, got *exchange, _ *trial) {
			if strings.HasPrefix(got.answers[0].end, "cut") {
				*want = *got.clone()
			}
		},
	},
	{
		what:   "on HTTP/3 an answer of no type gets one also if its first piece is large",
		reason: "that is what net/http does; the server of HTTP/3 guesses it from small pieces only, and ours come in such",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keepsReply && tr.has(typeless) && version == "h3"
		},
		expect: func(want, got *exchange, _ *trial) {
			const guess = "Content-Type: text/plain; charset=utf-8"
			want.answers[0].fields = append(want.answers[0].fields, guess)
			want.addToLog(guess)
			sortBoth(want, got)
		},
	},
	{
		what:   "a flush sends the head, also if the status was not set before",
		reason: "that is what net/http does; the writer of Caddy's access log ignores such a flush",
		applies: func(_ offloading, tr *trial, _ string) bool {
			return tr.has(flushesFirst)
		},
		expect: func(want, got *exchange, _ *trial) {
			dropField(&want.answers[0], "X-Late")
			want.log = slices.DeleteFunc(want.log, func(f string) bool { return nameOf(f) == "X-Late" })
			want.answers[0].fields = withLengthOf(want.answers[0].fields, got.answers[0].fields)
			want.log = withLengthOf(want.log, got.log)
		},
	},
	{
		what:   "behind offload {method}, {host} and {http.response.header.*} show what was there when it began",
		reason: "Caddy's placeholders know the request and the writer itself, and a run gets copies of both",
		applies: func(_ offloading, tr *trial, _ string) bool {
			return tr.has(changedBehind)
		},
		expect: func(want, got *exchange, _ *trial) {
			want.answers[0].fields, want.answers[0].body, want.log = got.answers[0].fields, got.answers[0].body, got.log
		},
	},
	{
		what:   "a status that no client can be sent becomes 502",
		reason: "only a broken upstream sends it; net/http panics",
		applies: func(_ offloading, tr *trial, _ string) bool {
			return tr.has(badStatus)
		},
		expect: func(want, got *exchange, _ *trial) {
			if strings.Contains(got.answers[0].start, " 502") {
				*want = *got.clone()
			}
		},
	},
	{
		what:   "a spooled request is sent once more if a kept connection to its upstream dies under it",
		reason: "its body, or that it has none, is known; net/http does so for requests it can repeat",
		applies: func(o offloading, tr *trial, version string) bool {
			return o.keeps(tr) && tr.has(diesSilent) && version == "h3"
		},
		expect: func(want, _ *exchange, _ *trial) {
			want.upstream = append(want.upstream, want.upstream[0])
		},
	},
}

// keeps reports whether the request goes through a spool.
func (o offloading) keeps(tr *trial) bool { return o.keepsRequests && !tr.has(neverSpooled) }

// tellLength adds the length that the upstream gets with a spooled body of unknown length.
func tellLength(m *message, b body) {
	at := slices.IndexFunc(m.fields, func(f string) bool { return strings.HasPrefix(f, "(length): -1") })
	if at < 0 {
		return
	}
	m.fields[at] = fmt.Sprintf("(length): %d []", b.length)
	if b.open != nil {
		m.fields = append(m.fields, fmt.Sprintf("Content-Length: %d", b.length))
		sortFields(m.fields)
	}
}

// withLengthOf returns fields with the length that others show, if they show the
// one that the server makes up. Each keeps its place.
func withLengthOf(fields, others []string) []string {
	isLength := func(f string) bool {
		name := nameOf(f)
		return name == "Content-Length" || name == "Transfer-Encoding" || name == "(length)"
	}
	if slices.ContainsFunc(others, func(f string) bool { return nameOf(f) == "Content-Length" }) {
		return fields
	}
	rest := slices.DeleteFunc(slices.Clone(fields), isLength)
	for i, f := range others {
		if isLength(f) {
			rest = slices.Insert(rest, min(i, len(rest)), f)
		}
	}
	return rest
}

func dropField(m *message, name string) {
	m.fields = slices.DeleteFunc(m.fields, func(f string) bool { return nameOf(f) == name })
}

// addToLog adds a field to the log, if there is one.
func (x *exchange) addToLog(field string) {
	if len(x.log) > 0 {
		x.log = append(x.log, field)
	}
}

// sortBoth is for fields whose order depends on the handler that adds them.
func sortBoth(x, y *exchange) {
	for _, fields := range [][]string{x.answers[0].fields, y.answers[0].fields, x.log, y.log} {
		sortFields(fields)
	}
}

// setField changes the value of a field that is there.
func setField(fields []string, name string, value any) {
	for i, f := range fields {
		if nameOf(f) == name {
			fields[i] = fmt.Sprintf("%s: %v", name, value)
		}
	}
}
