package compare

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A response that goes wrong on its way goes wrong for the client in the same way.
func TestCompareBrokenAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\nContent-Type: a/b\n"
	compare(t, proxied,
		trial{name: "no answer", answer: raw(""), traits: diesSilent},
		trial{name: "a reset instead of an answer", answer: onConn(func(conn *net.TCPConn, _ *play) { reset(conn) }), traits: diesSilent},
		trial{name: "cut within the first line", answer: raw("HTTP/1.")},
		trial{name: "cut within the head", answer: raw(ok + "X-Half: ")},
		trial{name: "garbage", answer: raw("garbage\n\n")},
		trial{name: "another protocol", answer: raw("SSH-2.0-OpenSSH_9.9\n")},
		trial{name: "a status of letters", answer: raw("HTTP/1.1 abc OK\n\n")},
		trial{name: "a status of four digits", answer: raw("HTTP/1.1 2000 OK\n\n")},
		trial{name: "a version of letters", answer: raw("HTTP/x.y 200 OK\n\n")},
		trial{name: "a field without a colon", answer: raw(ok + "no colon here\n\nbody")},
		trial{name: "a space before the colon", answer: raw(ok + "X-Space : 1\nContent-Length: 4\n\nbody")},
		trial{name: "a field on two lines", answer: raw(ok + "X-Long: 1\n 2\nContent-Length: 4\n\nbody")},
		trial{name: "a zero byte in a field", answer: raw(ok + "X-Zero: \x00\nContent-Length: 4\n\nbody")},
		trial{name: "a field with a name that is none", answer: raw(ok + "X(Odd): 1\nContent-Length: 4\n\nbody")},

		trial{name: "two lengths", answer: raw(ok + "Content-Length: 4\nContent-Length: 5\n\nbodyx")},
		trial{name: "the same length twice", answer: raw(ok + "Content-Length: 4\nContent-Length: 4\n\nbody")},
		trial{name: "a negative length", answer: raw(ok + "Content-Length: -4\n\nbody")},
		trial{name: "a length of letters", answer: raw(ok + "Content-Length: four\n\nbody")},
		trial{name: "a length and chunks", answer: raw(ok + "Content-Length: 9\nTransfer-Encoding: chunked\n\n4\nbody\n0\n\n")},
		trial{name: "an unknown transfer encoding", answer: raw(ok + "Transfer-Encoding: gzip\n\nbody")},
		trial{name: "a body that is too short", answer: raw(ok + "Content-Length: 10\n\nbody")},
		trial{name: "a body that is too long", answer: raw(ok + "Content-Length: 4\n\nbody and more")},
		trial{name: "a length and no body", answer: raw(ok + "Content-Length: 10\n\n")},

		trial{name: "chunks without an end", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbody\n")},
		trial{name: "chunks without their last line", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbody\n0\n")},
		trial{name: "no chunk at all", answer: raw(ok + "Transfer-Encoding: chunked\n\n")},
		trial{name: "a chunk that is cut", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbody\n9\nhalf")},
		trial{name: "a chunk's size that is cut", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbody\n9")},
		trial{name: "a chunk's size that is no number", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbody\nzz\nmore\n0\n\n")},
		trial{name: "a chunk larger than anything", answer: raw(ok + "Transfer-Encoding: chunked\n\nfffffffffffffffffff\nbody\n0\n\n")},
		trial{name: "a chunk longer than it says", answer: raw(ok + "Transfer-Encoding: chunked\n\n4\nbodybody\n0\n\n")},
		trial{name: "chunks with extensions", answer: raw(ok + "Transfer-Encoding: chunked\n\n4;a=b\nbody\n0;c\n\n")},
		trial{name: "a trailer that is cut", answer: raw(ok + "Trailer: X-Sum\nTransfer-Encoding: chunked\n\n4\nbody\n0\nX-Su")},
		trial{name: "a trailer that is none", answer: raw(ok + "Trailer: X-Sum\nTransfer-Encoding: chunked\n\n4\nbody\n0\nno colon\n\n")},
		trial{name: "1xx and then nothing", answer: raw("HTTP/1.1 103 Early Hints\nLink: </a.css>\n\n")},
		trial{name: "1xx and then garbage", answer: raw("HTTP/1.1 103 Early Hints\nLink: </a.css>\n\ngarbage\n\n")},
		trial{name: "a status below 100", answer: raw("HTTP/1.1 099 Odd\nContent-Length: 0\n\n"), traits: badStatus},
		trial{name: "a switch of protocols that nobody asked for", answer: raw("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: Upgrade\n\n")},
	)
}

// Bodies that are cut at all sorts of places, by a close and by a reset.
func TestCompareCutBodies(t *testing.T) {
	var trials []trial
	for _, n := range []int{1, 2 * kib, 2*kib + 1, 4 * kib, 32*kib + 1, 128 * kib, 128*kib + 1, 300 * kib} {
		trials = append(trials,
			trial{name: fmt.Sprintf("after %d bytes with a length", n), answer: raw(
				fmt.Sprintf("HTTP/1.1 200 OK\nContent-Type: a/b\nContent-Length: %d\n\n", n+1) + string(pattern(n)))},
			trial{name: fmt.Sprintf("after %d bytes in chunks", n), answer: func(w http.ResponseWriter, _ *http.Request) {
				typed(w)
				inPieces(w, n, 10000)
				flush(w)
				panic(http.ErrAbortHandler)
			}},
		)
	}
	compare(t, proxied, append(trials,
		trial{name: "by a reset, once the client has a part", answer: onConn(func(conn *net.TCPConn, p *play) {
			text := "HTTP/1.1 200 OK\nContent-Type: text/event-stream\nContent-Length: 100\n\n"
			_, _ = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")+string(pattern(50)))
			p.clientHas(50)
			reset(conn)
		})},
		trial{name: "by an abort before the head", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, traits: diesSilent},
		trial{name: "by an abort after the head", answer: func(w http.ResponseWriter, _ *http.Request) {
			typed(w)
			panic(http.ErrAbortHandler)
		}},
		trial{name: "by an abort of an answer of known length", answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			flush(w)
			panic(http.ErrAbortHandler)
		}},
		trial{name: "by an abort, once the client has a part", answer: func(w http.ResponseWriter, r *http.Request) {
			typed(w)
			inPieces(w, 5*kib, 5*kib)
			flush(w)
			playOf(r.Context()).clientHas(5 * kib)
			panic(http.ErrAbortHandler)
		}},
		trial{name: "of an upload", request: request{method: "POST", body: sized(100 * kib)}, answer: raw("HTTP/1.1 200 OK\nContent-Length: 9\n\nhalf")},
	)...)
}

// reset closes a connection so that the other side gets an error.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// Upstreams that are not there, or not always.
func TestCompareMissingUpstreams(t *testing.T) {
	post := request{method: "POST", body: sized(100 * kib)}
	trials := []trial{{name: "GET"}, {name: "POST", request: post}, {name: "HEAD", request: request{method: "HEAD"}}}
	const nobody = "127.0.0.1:1"
	compareRoutes(t, routeTrials{
		"refused":                 {proxy(nobody).body, trials},
		"refused and tried again": {proxy(nobody, "lb_retries 2", "lb_try_interval 1ms").body, trials},
		"with an error route": {proxy(nobody).body + `
			handle_errors {
				respond "sorry: {err.status_code} {err.message}" 599
			}`, trials},
	})
}
