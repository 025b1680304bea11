package load

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRoundTripReadsEachForm(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		hangUp bool
		want   answer
	}{
		"length":      {okText, false, answer{200, 5, true}},
		"no body":     {refusedText, false, answer{503, 0, true}},
		"chunks":      {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n", false, answer{200, 13, true}},
		"close":       {"HTTP/1.1 429 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", true, answer{429, 2, false}},
		"until close": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole", true, answer{200, 5, false}},
		"interim":     {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okText, false, answer{200, 5, true}},
		"odd fields":  {"HTTP/1.1 200 OK\r\nContent-Type: a\r\nCookie:\r\nT: x\r\nCONTENT-LENGTH:1\r\n\r\nx", false, answer{200, 1, true}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(int64, *http.Request) (string, bool) { return c.text, c.hangUp })
			line := lineTo{addr: f.addr, buffer: answerBuffer}
			defer line.hangUp()
			got, err := line.ask(t.Context(), Stream{Addr: f.addr, Path: "/"}.request(), time.Now().Add(patience))
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, c.want)
			}
			if open := line.conn != nil; open != c.want.keep {
				t.Fatalf("connection kept: %v, want %v", open, c.want.keep)
			}
		})
	}
}

func TestRoundTripRefusesWhatItCannotRead(t *testing.T) {
	for name, text := range map[string]string{
		"cut body":     brokenText,
		"cut head":     "HTTP/1.1 200 OK\r\nContent-Le",
		"cut chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"bad chunk":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"not HTTP":     "SSH-2.0-OpenSSH\r\n\r\n",
		"bad status":   "HTTP/1.1 2xx OK\r\n\r\n",
		"bad length":   "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
		"no framing":   "HTTP/1.1 200 OK\r\n\r\n",
		"nothing":      "",
		"cut trailers": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(int64, *http.Request) (string, bool) { return text, true })
			line := lineTo{addr: f.addr, buffer: answerBuffer}
			got, err := line.ask(t.Context(), Stream{Addr: f.addr, Path: "/"}.request(), time.Now().Add(patience))
			if err == nil {
				t.Fatalf("got %+v, want an error", got)
			}
			if line.conn != nil {
				t.Fatal("a broken connection was kept")
			}
		})
	}
}

func TestRequestIsWellFormed(t *testing.T) {
	stream := Stream{Addr: "127.0.0.1:1", Path: "/slow/x", Header: "Cookie: a=b\r\n", Body: 7}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(stream.request()))))
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != http.MethodPost || r.URL.Path != "/slow/x" || r.Host != stream.Addr ||
		r.ContentLength != 7 || r.Header.Get("Cookie") != "a=b" {
		t.Fatalf("request %+v", r)
	}
}

func TestSlowSocketOptions(t *testing.T) {
	f := newFake(t, always(okText))
	conn, err := (&net.Dialer{Control: likeEthernet}).DialContext(t.Context(), "tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}
