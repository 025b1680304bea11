package fidelity_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Other handlers of Caddy, in front of offload and behind it.
func TestCompareHandlers(t *testing.T) {
	get := func(target string, fields ...string) request { return request{target: target, fields: fields} }
	post := func(target string, n int) request { return request{method: "POST", target: target, body: sized(n)} }
	const proxy = "reverse_proxy UPSTREAM\n"
	for _, r := range []struct {
		name, body string
		trials     []trial
	}{
		{"header", "header X-Set 1\nheader +X-Add 2\nheader -X-Gone\nheader ?X-Default 3\nheader X-Up replaced\nOFFLOAD\n" + proxy, []trial{
			{name: "fields", answer: answer(200, "hello", "X-Gone: 1", "X-Up: 1", "X-Add: 1")},
			{name: "a default that is there", answer: answer(200, "hello", "X-Default: 9")},
			{name: "an error", answer: answer(500, "oh")},
			{name: "1xx", answer: raw("HTTP/1.1 103 Early Hints\nLink: </a>\n\n" + hello)},
			{name: "trailers", answer: announced(100, "X-Sum: 1")},
			{name: "nothing", answer: answer(204, "")},
		}},
		{"header, late", "header >X-Set 1\nheader >-X-Gone\nheader >X-Up \"^(.)(.*)$\" \"$2$1\"\nheader {\n-Via\n-Server\ndefer\n}\nOFFLOAD\n" + proxy, []trial{
			{name: "fields", answer: answer(200, "hello", "X-Gone: 1", "X-Up: abc")},
			{name: "a large body", answer: text(300*kib, "X-Gone: 1")},
			{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b", "X-Gone: 1")},
			{name: "HEAD", request: request{method: "HEAD"}, answer: answer(200, "", "X-Gone: 1")},
			{name: "1xx", answer: raw("HTTP/1.1 103 Early Hints\nX-Gone: 1\n\n" + hello)},
			{name: "no upstream", answer: raw(""), dies: true},
		}},
		{"header, by the answer", "header {\n>X-Status {http.reverse_proxy.status_code}\n>X-Type {http.reverse_proxy.header.Content-Type}\n>X-Method {method}\n>X-Var {vars.a}\nmatch {\nstatus 2xx\n}\n}\nvars a b\nOFFLOAD\n" + proxy, []trial{
			{name: "200", answer: answer(200, "hello", "Content-Type: a/b")},
			{name: "404", answer: answer(404, "no", "Content-Type: a/b")},
			{name: "a large body", answer: text(300 * kib)},
		}},
		{"header, behind", "route {\nOFFLOAD\nheader X-Set {http.request.method}\nheader >X-Late 1\n" + proxy + "}", []trial{
			{name: "fields", answer: answer(200, "hello")}, {name: "an error", answer: answer(500, "oh")},
			{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b")},
		}},
		{"fields of the proxy", "OFFLOAD\nreverse_proxy UPSTREAM {\nheader_up X-Up {method}\nheader_up -X-Gone\nheader_up Host up.example\nheader_down X-Down {http.reverse_proxy.status_code}\nheader_down -X-Secret\nheader_down X-Cut \"a(.)c\" \"$1\"\n}", []trial{
			{name: "fields", request: get("/", "X-Gone: 1"), answer: answer(200, "hello", "X-Secret: 1", "X-Cut: abc")},
			{name: "an upload", request: post("/", 5000)},
		}},
		{"rewrites", "route {\nrewrite /old/* /new{uri}\nuri strip_suffix .php\nuri replace /bad /good\nmethod @put POST\n@put method PUT\nOFFLOAD\n" + proxy + "}", []trial{
			{name: "a path", request: get("/old/a?b=c")}, {name: "a suffix", request: get("/a.php?x=.php")}, {name: "a replacement", request: get("/bad/bad")},
			{name: "escapes", request: get("/old/%2Fa%20b")}, {name: "a method", request: request{method: "PUT", body: sized(10)}},
		}},
		{"rewrites behind", "route {\nOFFLOAD\nrewrite /old/* /new{uri}\nrequest_header X-Added {path}\nrequest_header -X-Gone\n" + proxy + "}", []trial{
			{name: "a path", request: get("/old/a?b=c", "X-Gone: 1")}, {name: "an upload", request: post("/old/b", 5000)},
		}},
		{"rewrites of the proxy", "OFFLOAD\nreverse_proxy UPSTREAM {\nrewrite /fixed?{query}\nmethod GET\n}", []trial{
			{name: "GET", request: get("/a?b=c")}, {name: "POST", request: post("/a", 5000), normal: forgetUpload},
		}},
		{"paths", "OFFLOAD\nhandle_path /api/* {\n" + proxy + "}\nhandle /app/* {\nroute {\nuri strip_prefix /app\n" + proxy + "}\n}\nhandle {\nrespond \"nothing at {path}\" 404\n}", []trial{
			{name: "one", request: get("/api/a?b")}, {name: "another", request: get("/app/a")}, {name: "none", request: get("/else")},
		}},
		{"respond", "OFFLOAD\nrespond /text \"text {method} {uri}\"\nrespond /status 418\nrespond /close \"bye\" {\nclose\n}\nrespond /empty 204\n", []trial{
			{name: "a text", request: get("/text?a=b")}, {name: "a status", request: get("/status")}, {name: "a connection to be closed", request: get("/close")},
			{name: "nothing", request: get("/empty")}, {name: "HEAD", request: request{method: "HEAD", target: "/text"}}, {name: "no route", request: get("/nobody")},
			{name: "an upload that nobody reads", request: post("/text", 100)}, {name: "a large upload that nobody reads", request: post("/text", 300*kib), ignored: true},
		}},
		{"errors", "OFFLOAD\nerror /gone \"it is gone\" 410\nerror /boom 500\nabort /abort\nredir /redir /there 307\nredir /away https://other.example{uri}\n" + proxy + "handle_errors {\nheader X-Error {err.status_code}\nrespond \"{err.status_code} {err.status_text} {err.message}\"\n}", []trial{
			{name: "410", request: get("/gone")}, {name: "500", request: get("/boom")}, {name: "abort", request: get("/abort")}, {name: "redir", request: get("/redir")},
			{name: "redir away", request: get("/away?a=b")}, {name: "an upstream that closes", request: post("/", 10), answer: raw("")}, {name: "HEAD", request: request{method: "HEAD", target: "/gone"}},
			{name: "an upstream's own error", answer: answer(404, "its own")},
		}},
		{"errors without routes", "OFFLOAD\nerror /gone \"it is gone\" 410\nerror /boom 500\n" + proxy, []trial{
			{name: "410", request: get("/gone")}, {name: "500", request: get("/boom")}, {name: "an upstream that closes", request: post("/", 10), answer: raw("")},
		}},
		{"intercept in front", "intercept {\n@error status 5xx\nhandle_response @error {\nrespond \"sorry, {http.intercept.status_code}\" 503\n}\n@gone status 404\nreplace_status @gone 410\n}\nOFFLOAD\n" + proxy, []trial{
			{name: "200", answer: answer(200, "hello")}, {name: "500", answer: answer(500, "oh")}, {name: "404", answer: answer(404, "no")},
			{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b")}, {name: "a large body", answer: text(300 * kib)}, {name: "trailers", answer: announced(100, "X-Sum: 1")},
		}},
		{"intercept behind", "route {\nOFFLOAD\nintercept {\n@error status 5xx\nhandle_response @error {\nrespond \"sorry\" 503\n}\n}\n" + proxy + "}", []trial{
			{name: "200", answer: answer(200, "hello")}, {name: "500", answer: answer(500, "oh, so"), misstated: true}, {name: "500, longer than it was", answer: answer(500, "oh"), misstated: true}, {name: "a large body", answer: text(300 * kib)},
		}},
		{"answers that are handled", "OFFLOAD\nreverse_proxy UPSTREAM {\n@redirect status 302\nhandle_response @redirect {\nrespond \"was {rp.status_code}\" 200\n}\n@copy header X-Copy *\nhandle_response @copy {\nheader X-Copied 1\ncopy_response_headers {\nexclude X-Secret\n}\ncopy_response 299\n}\n@gone status 404\nreplace_status @gone 410\n@fall status 202\nhandle_response @fall {\nrewrite /accepted\nreverse_proxy UPSTREAM\n}\n}", []trial{
			{name: "passed on", answer: answer(200, "hello")}, {name: "replaced", answer: answer(302, "away", "Location: /x")}, {name: "copied", answer: answer(200, "hello", "X-Copy: 1", "X-Secret: 1")},
			{name: "copied, large", answer: text(300*kib, "X-Copy: 1")}, {name: "with another status", answer: answer(404, "no")},
			{name: "by another request", answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/accepted" {
					answer(200, "done")(w, r)
					return
				}
				answer(202, "wait")(w, r)
			}, request: get("/job")},
			{name: "copied in pieces", answer: inStep(3, "tick", "Content-Type: a/b", "X-Copy: 1")},
		}},
		{"basic_auth", "basic_auth {\nann $2a$04$e/J4tZPZpbTZqRKdYQ6DhOFJG.ziGsyX3ZDhVRg8LQFWV6Dy5vIs2\n}\nOFFLOAD\n" + proxy, []trial{
			{name: "nobody"}, {name: "a wrong one", request: get("/", "Authorization: Basic YW5uOndyb25n")}, {name: "an upload of nobody", request: post("/", 100), stays: true},
		}},
		{"basic_auth behind", "route {\nOFFLOAD\nbasic_auth {\nann $2a$04$e/J4tZPZpbTZqRKdYQ6DhOFJG.ziGsyX3ZDhVRg8LQFWV6Dy5vIs2\n}\n" + proxy + "}", []trial{
			{name: "nobody"}, {name: "a wrong one", request: get("/", "Authorization: Basic YW5uOndyb25n")},
		}},
		{"limits", "request_body {\nmax_size 1KB\n}\nOFFLOAD\n" + proxy, []trial{
			{name: "below", request: post("/", 999)}, {name: "at it", request: post("/", 1000)}, {name: "above", request: post("/", 1001), normal: forgetUpload},
			{name: "below, unknown length", request: request{method: "POST", body: unsized(999)}},
			{name: "above, unknown length", request: request{method: "POST", body: unsized(1001)}, normal: forgetUpload},
			{name: "far above", request: post("/", 400*kib), normal: forgetUpload},
		}},
		{"bodies in placeholders", "OFFLOAD\nrespond \"body: {http.request.body}\"", []trial{
			{name: "an upload", request: post("/", 100)}, {name: "nothing"},
		}},
		{"bodies that are set", "request_body {\nset \"set: {method}\"\n}\nOFFLOAD\n" + proxy, []trial{
			{name: "an upload", request: post("/", 100), stays: true}, {name: "nothing", stays: true},
		}},
		{"logs", "log_append ours {http.response.header.X-Up}\nlog_append >late {http.reverse_proxy.status_code}\nOFFLOAD\n" + proxy, []trial{{name: "GET", answer: answer(200, "hello", "X-Up: 1")}}},
		{"maps and vars", "map {path} {kind} {\n/a* A\ndefault other\n}\nvars seen {kind}\nheader X-Kind {kind}\nOFFLOAD\nheader X-Seen {vars.seen}\n" + proxy, []trial{
			{name: "one", request: get("/abc")}, {name: "another", request: get("/x")},
		}},
	} {
		t.Run(r.name, func(t *testing.T) { compare(t, route{body: r.body}, r.trials...) })
	}
}

// forward_auth asks somebody else first.
func TestCompareForwardAuth(t *testing.T) {
	auth := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/auth" {
			answer(200, fmt.Sprintf("for %q", r.Header.Get("X-User")))(w, r)
			return
		}
		switch r.Header.Get("X-Token") {
		case "good":
			answer(204, "", "X-User: ann", "X-Secret: 1")(w, r)
		case "away":
			answer(302, "", "Location: /login")(w, r)
		default:
			answer(401, "who?", `Www-Authenticate: Bearer`)(w, r)
		}
	}
	trials := []trial{
		{name: "good", request: request{fields: []string{"X-Token: good"}}},
		{name: "good upload", request: request{method: "POST", fields: []string{"X-Token: good"}, body: sized(5000)}},
		{name: "bad", request: request{fields: []string{"X-Token: bad"}}},
		{name: "bad upload", request: request{method: "POST", body: sized(5000)}},
		{name: "sent away", request: request{fields: []string{"X-Token: away"}}},
	}
	for i := range trials {
		trials[i].answer = auth
	}
	const ask = "forward_auth UPSTREAM {\nuri /auth\ncopy_headers X-User\n}\n"
	t.Run("behind", func(t *testing.T) {
		compare(t, route{body: "route {\nOFFLOAD\n" + ask + "reverse_proxy UPSTREAM\n}"}, trials...)
	})
	for i := range trials {
		trials[i].stays = !slices.Contains(trials[i].fields, "X-Token: good")
	}
	t.Run("in front", func(t *testing.T) {
		compare(t, route{body: "route {\n" + ask + "OFFLOAD\nreverse_proxy UPSTREAM\n}"}, trials...)
	})
}

// Placeholders show what handlers in front of them have done. Behind offload some
// do not, see the deviations.
func TestComparePlaceholders(t *testing.T) {
	show := func(names ...string) string { return "respond \"{" + strings.Join(names, "} {") + "}\"\n" }
	for _, r := range []struct {
		name, body string
		changed    bool
	}{
		{name: "of the request", body: "OFFLOAD\n" + show("method", "host", "uri", "path", "query", "scheme", "remote_host", "http.request.proto", "http.request.header.X-A", "http.request.cookie.c")},
		{name: "of a request that was rewritten", body: "route {\nOFFLOAD\nrewrite /new?a=b\nrequest_header X-A new\n" + show("uri", "path", "query", "http.request.orig_uri", "http.request.header.X-A") + "}"},
		{name: "of a request that was changed in front", body: "route {\nmethod PUT\nOFFLOAD\n" + show("method") + "}"},
		{name: "of a request that was changed behind", body: "route {\nOFFLOAD\nmethod PUT\n" + show("method") + "}", changed: true},
		{name: "of matches", body: "@re path_regexp a ^/(.*)$\nroute {\nOFFLOAD\nrespond @re \"{re.a.1}\"\n}"},
		{name: "of vars", body: "route {\nvars a 1\nOFFLOAD\nvars b 2\n" + show("vars.a", "vars.b") + "}"},
		{name: "of the answer, in front", body: "route {\nheader >X-B {http.response.header.X-A}\nOFFLOAD\nheader X-A 1\n" + show("method") + "}"},
		{name: "of the answer, behind", body: "route {\nOFFLOAD\nheader X-A 1\n" + show("http.response.header.X-A") + "}", changed: true},
		{name: "of an answer that has begun in front", body: "route {\nheader X-A 1\nOFFLOAD\n" + show("http.response.header.X-A") + "}"},
	} {
		t.Run(r.name, func(t *testing.T) {
			compare(t, route{body: r.body}, trial{name: "GET", request: request{target: "/path?query", fields: []string{"X-A: 1", "Cookie: c=1"}}, changed: r.changed})
		})
	}
}
