package compare

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// accessLog follows a site's access log while it grows. There is none under the
// race detector: plain Caddy logs how much of a body was read while a transport may
// still be reading it.
type accessLog struct {
	file  *os.File
	in    *bufio.Reader
	rest  string // of a line that is not complete yet
	lines map[string][]string
}

func followAccessLog(t *testing.T, name string) *accessLog {
	t.Helper()
	file, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return &accessLog{file: file, in: bufio.NewReader(file), lines: make(map[string][]string)}
}

// of waits for the line of a play, which comes when its handlers have returned.
func (l *accessLog) of(t *testing.T, id string) []string {
	t.Helper()
	if !testkit.Poll(patience, func() bool {
		l.read(t)
		_, ok := l.lines[id]
		return ok
	}) {
		t.Errorf("no line of request %s in the access log", id)
	}
	found := l.lines[id]
	delete(l.lines, id)
	return found
}

func (l *accessLog) read(t *testing.T) {
	t.Helper()
	for {
		part, err := l.in.ReadString('\n')
		l.rest += part
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		l.take(l.rest)
		l.rest = ""
	}
}

// take keeps the parts of a line that must be the same.
func (l *accessLog) take(text string) {
	var line struct {
		Status  int
		Size    int64
		Read    int64       `json:"bytes_read"`
		UserID  string      `json:"user_id"`
		Header  http.Header `json:"resp_headers"`
		Request struct{ Headers http.Header }
	}
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		panic(err)
	}
	id := line.Request.Headers.Get("X-Play")
	if id == "" {
		return
	}
	fields := append(fieldsOf(line.Header),
		fmt.Sprintf("(status): %d", line.Status), fmt.Sprintf("(user): %q", line.UserID),
		fmt.Sprintf("(written): %d", line.Size), fmt.Sprintf("(read): %d", line.Read))
	l.lines[id] = append(l.lines[id], fields...)
}
