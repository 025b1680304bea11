//go:build integration

package clients

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// commandLine is a client that is run once for each call.
type commandLine struct {
	version string
	folder  string
	args    func(c call, body string) []string
	read    func(t *testing.T, out, errs []byte, code int) seen
}

var commandLines = map[string]func(t *testing.T) caller{
	"curl": func(t *testing.T) caller { return newCommandLine(t, "curl", curlArgs, curlSeen) },
	"wget": func(t *testing.T) caller { return newCommandLine(t, "wget", wgetArgs, wgetSeen) },
}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

func newCommandLine(t *testing.T, name string, args func(call, string) []string, read func(*testing.T, []byte, []byte, int) seen) caller {
	t.Helper()
	text, err := exec.Command(name, "--version").Output()
	if err != nil {
		t.Fatalf("%v (has .ci/clients been run?)", err)
	}
	return &commandLine{name + " " + versionNumber.FindString(string(text)), t.TempDir(), args, read}
}

func (l *commandLine) versions() string { return l.version }

func (l *commandLine) call(t *testing.T, c call) seen {
	t.Helper()
	body := ""
	if c.Bytes > 0 {
		body = filepath.Join(l.folder, strings.ReplaceAll(c.ID, "/", "-"))
		if err := os.WriteFile(body, bytes.Repeat([]byte("x"), c.Bytes), 0o600); err != nil {
			t.Error(err)
			return seen{}
		}
	}
	args := l.args(c, body)
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	return l.read(t, out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode())
}

// curlArgs make it print the head and the body of its last answer.
func curlArgs(c call, body string) []string {
	args := []string{"curl", "--silent", "--show-error", "--insecure", "--include", "--retry", "3", "--request", c.Method, c.URL}
	for name, value := range c.Fields {
		args = append(args, "--header", name+": "+value)
	}
	if body != "" {
		args = append(args, "--data-binary", "@"+body, "--header", "Expect:")
	}
	return args
}

// curlSeen reads the last of several answers.
func curlSeen(t *testing.T, out, errs []byte, code int) seen {
	t.Helper()
	if code != 0 {
		return seen{Error: "exit " + strconv.Itoa(code), Detail: string(errs)}
	}
	text := string(out)
	text = text[max(0, strings.LastIndex(text, "HTTP/")):]
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	words := strings.Fields(lines[0])
	if len(words) < 2 {
		return seen{Error: "no answer", Detail: text}
	}
	status, err := strconv.Atoi(words[1])
	if err != nil {
		t.Error(err)
	}
	one := seen{Status: status, Fields: map[string]string{}, Body: body}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		one.Fields[strings.ToLower(name)] = value
	}
	return one
}

// wgetArgs bound its tries, which are 20 otherwise. With --content-on-error, which would show
// the body, it does not retry.
func wgetArgs(c call, body string) []string {
	args := []string{"wget", "--no-verbose", "--server-response", "--output-document=-", "--tries=4", c.URL}
	for name, value := range c.Fields {
		args = append(args, "--header="+name+": "+value)
	}
	if c.Method == http.MethodPost {
		args = append(args, "--post-file="+body)
	}
	return args
}

var wgetStatus = regexp.MustCompile(`(?m)^  HTTP/1\.1 (\d+)`)

// wgetSeen reads the fields from its messages.
func wgetSeen(t *testing.T, out, errs []byte, code int) seen {
	t.Helper()
	found := wgetStatus.FindAllSubmatch(errs, -1)
	if found == nil {
		return seen{Error: "exit " + strconv.Itoa(code), Detail: string(errs)}
	}
	status, err := strconv.Atoi(string(found[len(found)-1][1]))
	if err != nil {
		t.Error(err)
	}
	one := seen{Status: status, Fields: map[string]string{}, Body: string(out)}
	for line := range strings.Lines(string(errs)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			one.Fields[strings.ToLower(name)] = value
		}
	}
	return one
}
