package bridge_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/bridge"
	"github.com/caddy-offload/caddy-offload/offloader/spool"
)

// reference is a writer with the rules of net/http, and what its client gets.
type reference struct {
	head     bool // the request is HEAD
	header   http.Header
	status   int
	sent     http.Header // with the head
	declared int64
	written  int64
	body     bytes.Buffer
	infos    []string
	flushed  bool
}

func newReference(method string) *reference {
	return &reference{head: method == http.MethodHead, header: make(http.Header), declared: -1}
}

func (r *reference) Header() http.Header { return r.header }

func (r *reference) WriteHeader(status int) {
	switch {
	case r.status != 0:
	case status < 200 && status != http.StatusSwitchingProtocols:
		r.infos = append(r.infos, fmt.Sprint(status, r.header))
	default:
		r.status = status
		if n, err := strconv.ParseInt(r.header.Get("Content-Length"), 10, 64); err == nil && n >= 0 {
			r.declared = n
		}
		r.sent = r.header.Clone()
	}
}

func (r *reference) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	switch {
	case len(p) == 0:
		return 0, nil
	case r.status < 200 || r.status == http.StatusNoContent || r.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	}
	r.written += int64(len(p))
	if r.declared >= 0 && r.written > r.declared {
		return 0, http.ErrContentLength
	}
	if !r.head {
		r.body.Write(p)
	}
	return len(p), nil
}

func (r *reference) FlushError() error {
	r.WriteHeader(http.StatusOK)
	r.flushed = true
	return nil
}

// outcome is what the client has seen when the handler has ended.
func (r *reference) outcome() string {
	r.WriteHeader(http.StatusOK)
	trailer := make(http.Header)
	for _, names := range r.sent["Trailer"] {
		for name := range strings.SplitSeq(names, ", ") {
			if values := r.header[name]; len(values) > 0 {
				trailer[name] = values
			}
		}
	}
	for name, values := range r.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			trailer[name] = values
		}
	}
	return fmt.Sprintf("%d %v, 1xx %v, trailer %v, %d of %d bytes", r.status, r.sent, r.infos, trailer, r.written, r.declared)
}

var (
	scriptMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost}
	scriptBounds  = []spool.Bounds{
		{}, {Memory: kib}, {Memory: 70 * kib}, {File: 100 * kib}, {Memory: 10 * kib, File: 100 * kib}, {Memory: mib},
	}
	scriptStatuses = []int{200, 404, 204, 304, 205, 500, 101, 999, 103, 100, 199}
	scriptFields   = [][2]string{
		{"X-Run", "1"},
		{"X-Run", "2"},
		{"Content-Type", "text/plain"},
		{"Content-Type", "application/grpc"},
		{"Incremental", "?1"},
		{"Content-Length", "5"},
		{"Content-Length", "3000"},
		{"Content-Length", "x"},
		{"Trailer", "X-Sum"},
		{"Trailer", "X-Two, X-Sum"},
		{"X-Sum", "1"},
		{"X-Sum", "2"},
		{"X-Two", "3"},
		{http.TrailerPrefix + "X-More", "4"},
	}
)

// perform does to w what the script says, and returns the results of all calls.
// It waits where the script wants it to.
func perform(w http.ResponseWriter, script []byte, wait func()) string {
	var results strings.Builder
	var next inTurn
	write := func(n int) {
		if next.at+n > mib {
			return
		}
		n, err := w.Write(next.take(n))
		fmt.Fprintln(&results, n, err)
	}
	for ; len(script) >= 2; script = script[2:] {
		op, arg := script[0]%10, int(script[1])
		field := scriptFields[arg%len(scriptFields)]
		switch op {
		case 0:
			w.Header().Set(field[0], field[1])
		case 1:
			w.Header().Add(field[0], field[1])
		case 2:
			if field[0] == "X-Run" || field[0] == "Content-Length" {
				w.Header().Del(field[0])
			}
		case 3:
			if values := w.Header()["X-Run"]; len(values) > 0 {
				values[0] = "changed"
			}
		case 4:
			w.WriteHeader(scriptStatuses[arg%len(scriptStatuses)])
		case 5:
			write(arg)
		case 6:
			write(arg * 300)
		case 7, 8:
			fmt.Fprintln(&results, http.NewResponseController(w).Flush())
		case 9:
			wait()
		}
	}
	return results.String()
}

func playScript(t *testing.T, method, bounds uint8, script []byte) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newSetting(t)
		s.req.Method = scriptMethods[int(method)%len(scriptMethods)]
		s.opts.Stream.Budget = spool.NewBudget(spool.Limits{Dir: dir, Memory: 200 * kib, Disk: mib})
		s.opts.Stream.Bounds = scriptBounds[int(bounds)%len(scriptBounds)]
		plain, bridged := newReference(s.req.Method), newReference(s.req.Method)
		wants := perform(plain, script, func() {})
		s.beginOn(bridged)
		if got := perform(s.w, script, func() { pass(5 * time.Millisecond) }); got != wants {
			t.Errorf("results of the calls\n%s\nwant\n%s", got, wants)
		}
		complete := plain.declared < 0 || plain.written == plain.declared
		if spooled := s.w.Status() != 0 && !s.owner.direct; spooled && s.w.Complete() != complete {
			t.Errorf("complete: %v", !complete)
		}
		s.w.Finish(nil)
		plain.infos = plain.infos[:min(len(plain.infos), 32)]
		if spooled := len(s.owner.heads) == 1 && !s.owner.direct; spooled {
			bridged.written = plain.written // excess bytes do not come so far
		}
		if got, want := bridged.outcome(), plain.outcome(); got != want {
			t.Errorf("the client got\n%s\nwant\n%s", got, want)
		}
		if got, want := bridged.body.Bytes(), plain.body.Bytes(); !bytes.Equal(got, want) {
			t.Errorf("the client got %d bytes, want %d", len(got), len(want))
		}
		if plain.flushed && !bridged.flushed {
			t.Error("a flush was lost")
		}
		if used := s.opts.Stream.Budget.Usage(); used != (spool.Usage{}) {
			t.Errorf("not given back: %+v", used)
		}
		if s.w.Lost() {
			t.Error("lost")
		}
	})
}

// FuzzWriter compares any sequence of calls with what net/http would make of it.
func FuzzWriter(f *testing.F) {
	f.Add(uint8(0), uint8(5), []byte{0, 0, 4, 0, 5, 100})
	f.Add(uint8(0), uint8(2), []byte{0, 9, 6, 200, 9, 0, 7, 0, 6, 200, 0, 10, 0, 13})
	f.Add(uint8(0), uint8(1), []byte{7, 0, 5, 1, 9, 0, 6, 255, 6, 255, 6, 255})
	f.Add(uint8(1), uint8(2), []byte{0, 6, 6, 10})
	f.Add(uint8(0), uint8(3), []byte{0, 5, 5, 4, 5, 4, 5, 1})
	f.Add(uint8(2), uint8(4), []byte{4, 8, 0, 0, 4, 9, 4, 2, 5, 5, 3, 0})
	f.Add(uint8(0), uint8(0), []byte{0, 3, 5, 5, 7, 0, 0, 13})
	f.Add(uint8(0), uint8(4), []byte{0, 6, 6, 48, 5, 0}) // an empty write after one that was too much
	f.Fuzz(playScript)
}

// Random scripts are what fuzzing starts from, so that each test run has some.
func TestRandomScripts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			for range 10 {
				script := make([]byte, 2*random.IntN(40))
				for i := range script {
					script[i] = byte(random.Uint32())
				}
				playScript(t, uint8(random.Uint32()), uint8(random.Uint32()), script)
			}
		})
	}
}

// FuzzNeverSpooled looks for contradictions between the two questions.
func FuzzNeverSpooled(f *testing.F) {
	f.Add("application/grpc", "?1")
	f.Add("application/grpc+proto; a=b", "?1;a=\"b\"")
	f.Add("application/grpc-web", "?0")
	f.Fuzz(func(t *testing.T, contentType, incremental string) {
		h := http.Header{"Content-Type": {contentType}, "Incremental": {incremental}}
		before := h.Clone()
		if bridge.IsGRPC(h) && (!bridge.NeverSpooled(h) || !strings.HasPrefix(contentType, "application/grpc")) {
			t.Errorf("%q is gRPC", contentType)
		}
		if bridge.NeverSpooled(h) && !bridge.IsGRPC(h) && !strings.Contains(incremental, "?1") {
			t.Errorf("%q is incremental", incremental)
		}
		if !reflect.DeepEqual(h, before) {
			t.Error("the header was changed")
		}
	})
}
