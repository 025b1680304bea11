package compare

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

func get(target string, fields ...string) request { return request{target: target, fields: fields} }

func post(target string, n int) request {
	return request{method: "POST", target: target, body: sized(n)}
}

// Other handlers of Caddy, in front of offload and behind it.

func TestCompareRewrites(t *testing.T) {
	compareRoutes(t, routeTrials{
		"in front": {`
			route {
				rewrite /old/* /new{uri}
				uri strip_suffix .php
				uri replace /bad /good
				@put method PUT
				method @put POST
				OFFLOAD
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "a path", request: get("/old/a?b=c")},
			{name: "a suffix", request: get("/a.php?x=.php")},
			{name: "a replacement", request: get("/bad/bad")},
			{name: "escapes", request: get("/old/%2Fa%20b")},
			{name: "a method", request: request{method: "PUT", body: sized(10)}},
		}},
		"behind": {`
			route {
				OFFLOAD
				rewrite /old/* /new{uri}
				request_header X-Added {path}
				request_header -X-Gone
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "a path", request: get("/old/a?b=c", "X-Gone: 1")},
			{name: "an upload", request: post("/old/b", 5000)},
		}},
		"of the proxy": {`
			OFFLOAD
			reverse_proxy UPSTREAM {
				rewrite /fixed?{query}
				method GET
			}`, []trial{
			{name: "GET", request: get("/a?b=c")},
			{name: "POST", request: post("/a", 5000), normal: forgetRead},
		}},
		"by path": {`
			OFFLOAD
			handle_path /api/* {
				reverse_proxy UPSTREAM
			}
			handle /app/* {
				route {
					uri strip_prefix /app
					reverse_proxy UPSTREAM
				}
			}
			handle {
				respond "nothing at {path}" 404
			}`, []trial{
			{name: "one", request: get("/api/a?b")},
			{name: "another", request: get("/app/a")},
			{name: "none", request: get("/else")},
		}},
	})
}

func TestCompareAnswersOfCaddy(t *testing.T) {
	compareRoutes(t, routeTrials{
		"respond": {`
			OFFLOAD
			respond /text "text {method} {uri}"
			respond /status 418
			respond /close "bye" {
				close
			}
			respond /empty 204`, []trial{
			{name: "a text", request: get("/text?a=b")},
			{name: "a status", request: get("/status")},
			{name: "a connection to be closed", request: get("/close")},
			{name: "nothing", request: get("/empty")},
			{name: "HEAD", request: request{method: "HEAD", target: "/text"}},
			{name: "no route", request: get("/nobody")},
			{name: "an upload that nobody reads", request: post("/text", 100)},
			{name: "a large upload that nobody reads", request: post("/text", 300*kib), traits: leftUnread},
		}},
		"error, abort and redir": {`
			OFFLOAD
			error /gone "it is gone" 410
			error /boom 500
			abort /abort
			redir /redir /there 307
			redir /away https://other.example{uri}
			reverse_proxy UPSTREAM
			handle_errors {
				header X-Error {err.status_code}
				respond "{err.status_code} {err.status_text} {err.message}"
			}`, []trial{
			{name: "410", request: get("/gone")},
			{name: "500", request: get("/boom")},
			{name: "abort", request: get("/abort")},
			{name: "redir", request: get("/redir")},
			{name: "redir away", request: get("/away?a=b")},
			{name: "HEAD", request: request{method: "HEAD", target: "/gone"}},
			{name: "an upstream that closes", request: post("/", 10), answer: raw("")},
			{name: "an upstream's own error", answer: answer(404, "its own")},
		}},
		"errors without routes": {`
			OFFLOAD
			error /gone "it is gone" 410
			error /boom 500
			reverse_proxy UPSTREAM`, []trial{
			{name: "410", request: get("/gone")},
			{name: "500", request: get("/boom")},
			{name: "an upstream that closes", request: post("/", 10), answer: raw("")},
		}},
		"a fallback for errors": {`
			OFFLOAD
			reverse_proxy 127.0.0.1:1
			handle_errors {
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "GET"},
			{name: "HEAD", request: request{method: "HEAD"}},
			{name: "POST", request: post("/", 100)},
			{name: "a large POST", request: post("/", 300*kib)},
			{name: "POST of unknown length", request: request{method: "POST", body: unsized(5000)}},
			{name: "POST with trailers", request: request{method: "POST", body: unsized(100), trailers: []string{"X-Sum: 42"}}},
		}},
	})
}

func TestCompareInterception(t *testing.T) {
	answers := []trial{
		{name: "200", answer: answer(200, "hello")},
		{name: "404", answer: answer(404, "no")},
		{name: "500", answer: answer(500, "oh, so long"), traits: misstated},
		{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b")},
		{name: "a large body", answer: text(300 * kib)},
		{name: "trailers", answer: announced(100, "X-Sum: 1")},
	}
	const intercept = `
		intercept {
			@error status 5xx
			handle_response @error {
				respond "sorry" 503
			}
			@gone status 404
			replace_status @gone 410
		}`
	compareRoutes(t, routeTrials{
		"in front": {intercept + "\nOFFLOAD\nreverse_proxy UPSTREAM", answers},
		"behind":   {"route {\nOFFLOAD\n" + intercept + "\nreverse_proxy UPSTREAM\n}", answers},
		"of the proxy": {`
			OFFLOAD
			reverse_proxy UPSTREAM {
				@redirect status 302
				handle_response @redirect {
					respond "was {rp.status_code}" 200
				}
				@copy header X-Copy *
				handle_response @copy {
					header X-Copied 1
					copy_response_headers {
						exclude X-Secret
					}
					copy_response 299
				}
				@gone status 404
				replace_status @gone 410
				@later status 202
				handle_response @later {
					rewrite /accepted
					reverse_proxy UPSTREAM
				}
			}`, []trial{
			{name: "passed on", answer: answer(200, "hello")},
			{name: "replaced", answer: answer(302, "away", "Location: /x")},
			{name: "copied", answer: answer(200, "hello", "X-Copy: 1", "X-Secret: 1")},
			{name: "copied, large", answer: text(300*kib, "X-Copy: 1")},
			{name: "copied in pieces", answer: inStep(3, "tick", "Content-Type: a/b", "X-Copy: 1")},
			{name: "with another status", answer: answer(404, "no")},
			{name: "by another request", request: get("/job"), answer: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/accepted" {
					answer(200, "done")(w, r)
					return
				}
				answer(202, "wait")(w, r)
			}},
		}},
	})
}

func TestCompareAuthentication(t *testing.T) {
	const auth = `
		basic_auth {
			ann $2a$04$bhw/hnk19UcQ0HOmon/cluRakFIc.r61bGTxSsW1gmQp5nRMzaVbW
		}`
	trials := []trial{
		{name: "nobody"},
		{name: "somebody else", request: get("/", "Authorization: Basic YW5uOndyb25n")},
		{name: "the right one", request: get("/", "Authorization: Basic YW5uOnNlY3JldA==")},
		{name: "an upload of nobody", request: post("/", 100), traits: staysInFront},
	}
	compareRoutes(t, routeTrials{
		"in front": {auth + "\nOFFLOAD\nreverse_proxy UPSTREAM", trials},
		"behind":   {"route {\nOFFLOAD\n" + auth + "\nreverse_proxy UPSTREAM\n}", trials[:3]},
	})
}

// forward_auth asks another server first.
func TestCompareForwardAuth(t *testing.T) {
	auth := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/auth":
			_, _ = fmt.Fprintf(w, "for %q", r.Header.Get("X-User"))
		case r.Header.Get("X-Token") == "good":
			answer(204, "", "X-User: ann", "X-Secret: 1")(w, r)
		case r.Header.Get("X-Token") == "away":
			answer(302, "", "Location: /login")(w, r)
		default:
			answer(401, "who?", `Www-Authenticate: Bearer`)(w, r)
		}
	}
	trials := []trial{
		{name: "good", request: get("/", "X-Token: good")},
		{name: "good upload", request: request{method: "POST", fields: []string{"X-Token: good"}, body: sized(5000)}},
		{name: "bad", request: get("/", "X-Token: bad")},
		{name: "bad upload", request: post("/", 5000)},
		{name: "sent away", request: get("/", "X-Token: away")},
	}
	inFront := slices.Clone(trials)
	for i := range trials {
		trials[i].answer, inFront[i].answer = auth, auth
		if !slices.Contains(trials[i].fields, "X-Token: good") {
			inFront[i].traits = staysInFront
		}
	}
	const ask = `
		forward_auth UPSTREAM {
			uri /auth
			copy_headers X-User
		}`
	compareRoutes(t, routeTrials{
		"in front": {"route {\n" + ask + "\nOFFLOAD\nreverse_proxy UPSTREAM\n}", inFront},
		"behind":   {"route {\nOFFLOAD\n" + ask + "\nreverse_proxy UPSTREAM\n}", trials},
	})
}

func TestCompareRequestBody(t *testing.T) {
	compareRoutes(t, routeTrials{
		"with a limit": {`
			request_body {
				max_size 1KB
			}
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "below", request: post("/", 999)},
			{name: "at it", request: post("/", 1000)},
			{name: "above", request: post("/", 1001), normal: forgetUpload},
			{name: "far above", request: post("/", 400*kib), normal: forgetUpload},
			{name: "below, unknown length", request: request{method: "POST", body: unsized(999)}},
			{name: "above, unknown length", request: request{method: "POST", body: unsized(1001)}, normal: forgetUpload},
		}},
		"with a limit behind": {`
			route {
				OFFLOAD
				request_body {
					max_size 1KB
				}
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "at it", request: post("/", 1000)},
			{name: "above", request: post("/", 1001), normal: forgetUpload},
			{name: "above, unknown length", request: request{method: "POST", body: unsized(1001)}, normal: forgetUpload},
		}},
		"set": {`
			request_body {
				set "set: {method}"
			}
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "for an upload", request: post("/", 100), traits: staysInFront},
			{name: "for nothing", traits: staysInFront},
		}},
		"set behind": {`
			route {
				OFFLOAD
				request_body {
					set "set: {method}"
				}
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "for an upload", request: post("/", 100)},
			{name: "for nothing"},
		}},
		"read by a handler": {`
			OFFLOAD
			reverse_proxy UPSTREAM {
				header_up X-Body {http.request.body}
			}`, []trial{
			{name: "POST", request: post("/", 100)},
		}},
	})
}

// routeTrials are trials by route. Each route is a site's body with OFFLOAD in it.
type routeTrials map[string]struct {
	body   string
	trials []trial
}

func compareRoutes(t *testing.T, routes routeTrials) {
	t.Helper()
	for name, r := range routes {
		t.Run(name, func(t *testing.T) { compare(t, route{body: r.body}, r.trials...) })
	}
}
