package compare

import "testing"

// Operations on headers, at once and late, in front and behind.
func TestCompareHeaderOperations(t *testing.T) {
	compareRoutes(t, routeTrials{
		"at once": {`
			header X-Set 1
			header +X-Add 2
			header -X-Gone
			header ?X-Default 3
			header X-Up replaced
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "fields", answer: answer(200, "hello", "X-Gone: 1", "X-Up: 1", "X-Add: 1")},
			{name: "a default that is there", answer: answer(200, "hello", "X-Default: 9")},
			{name: "an error", answer: answer(500, "oh")},
			{name: "1xx", answer: raw("HTTP/1.1 103 Early Hints\nLink: </a>\n\n" + hello)},
			{name: "trailers", answer: announced(100, "X-Sum: 1")},
			{name: "nothing", answer: answer(204, "")},
		}},
		"late": {`
			header >X-Set 1
			header >-X-Gone
			header >X-Up "^(.)(.*)$" "$2$1"
			header {
				-Via
				-Server
				defer
			}
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "fields", answer: answer(200, "hello", "X-Gone: 1", "X-Up: abc")},
			{name: "a large body", answer: text(300*kib, "X-Gone: 1")},
			{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b", "X-Gone: 1")},
			{name: "HEAD", request: request{method: "HEAD"}, answer: answer(200, "", "X-Gone: 1")},
			{name: "1xx", answer: raw("HTTP/1.1 103 Early Hints\nX-Gone: 1\n\n" + hello)},
			{name: "no upstream", answer: raw(""), traits: diesSilent},
		}},
		"by the answer": {`
			vars a b
			header {
				>X-Status {http.reverse_proxy.status_code}
				>X-Type {http.reverse_proxy.header.Content-Type}
				>X-Method {method}
				>X-Var {vars.a}
				match {
					status 2xx
				}
			}
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "200", answer: answer(200, "hello", "Content-Type: a/b")},
			{name: "404", answer: answer(404, "no", "Content-Type: a/b")},
			{name: "a large body", answer: text(300 * kib)},
		}},
		"behind": {`
			route {
				OFFLOAD
				header X-Set {method}
				header >X-Late 1
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "fields", answer: answer(200, "hello")},
			{name: "an error", answer: answer(500, "oh")},
			{name: "in pieces", answer: inStep(3, "tick", "Content-Type: a/b")},
		}},
		"of the proxy": {`
			OFFLOAD
			reverse_proxy UPSTREAM {
				header_up X-Up {method}
				header_up -X-Gone
				header_up Host up.example
				header_down X-Down {http.reverse_proxy.status_code}
				header_down -X-Secret
				header_down X-Cut "a(.)c" "$1"
			}`, []trial{
			{name: "fields", request: get("/", "X-Gone: 1"), answer: answer(200, "hello", "X-Secret: 1", "X-Cut: abc")},
			{name: "an upload", request: post("/", 5000)},
		}},
		"by maps and vars": {`
			map {path} {kind} {
				/a* A
				default other
			}
			vars seen {kind}
			header X-Kind {kind}
			OFFLOAD
			handle {
				header X-Seen {vars.seen}
				reverse_proxy UPSTREAM
			}`, []trial{
			{name: "one", request: get("/abc")},
			{name: "another", request: get("/x")},
		}},
		"in the log": {`
			log_append ours {http.response.header.X-Up}
			log_append late {http.reverse_proxy.status_code}
			OFFLOAD
			reverse_proxy UPSTREAM`, []trial{
			{name: "GET", answer: answer(200, "hello", "X-Up: 1")},
		}},
	})
}

// Placeholders show what handlers in front of them have done. Behind offload some
// do not, see the deviations.
func TestComparePlaceholders(t *testing.T) {
	asked := trial{name: "GET", request: get("/path?query", "X-A: 1", "Cookie: c=1")}
	deviates := asked
	deviates.traits = changedBehind
	compareRoutes(t, routeTrials{
		"of the request": {`
			OFFLOAD
			respond "{method} {host} {uri} {path} {query} {scheme} {remote_host} {http.request.proto} {header.X-A} {cookie.c}"`, []trial{asked}},
		"of a request that was rewritten": {`
			route {
				OFFLOAD
				rewrite /new?a=b
				request_header X-A new
				respond "{uri} {path} {query} {http.request.orig_uri} {header.X-A}"
			}`, []trial{asked}},
		"of a request that was changed in front": {`
			route {
				method PUT
				OFFLOAD
				respond "{method}"
			}`, []trial{asked}},
		"of a request that was changed behind": {`
			route {
				OFFLOAD
				method PUT
				respond "{method}"
			}`, []trial{deviates}},
		"of matches": {`
			@re path_regexp a ^/(.*)$
			route {
				OFFLOAD
				respond @re "{re.a.1}"
			}`, []trial{asked}},
		"of vars": {`
			route {
				vars a 1
				OFFLOAD
				vars b 2
				respond "{vars.a} {vars.b}"
			}`, []trial{asked}},
		"of the answer, in front": {`
			route {
				header >X-B {http.response.header.X-A}
				OFFLOAD
				header X-A 1
				respond "hello"
			}`, []trial{asked}},
		"of the answer, behind": {`
			route {
				OFFLOAD
				header X-A 1
				respond "{http.response.header.X-A}"
			}`, []trial{deviates}},
		"of an answer that has begun in front": {`
			route {
				header X-A 1
				OFFLOAD
				respond "{http.response.header.X-A}"
			}`, []trial{asked}},
		"of the body": {`
			OFFLOAD
			respond "body: {http.request.body}"`, []trial{
			asked,
			{name: "POST", request: post("/", 100)},
			{name: "a large POST", request: post("/", 300*kib)},
			{name: "POST of unknown length", request: request{method: "POST", body: unsized(5000)}},
		}},
	})
}
