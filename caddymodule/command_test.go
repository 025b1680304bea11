package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// output of a command.
type output struct {
	out, err string
	code     int
}

// caddyCommand prepares a Caddy in a separate process.
func caddyCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	home := t.TempDir()
	cmd.Dir = home
	cmd.Env = append(os.Environ(), asCaddy+"=1", "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	return cmd
}

// command runs "caddy offload" in a separate process, to its end.
func command(t *testing.T, args ...string) output {
	t.Helper()
	cmd := caddyCommand(t, append([]string{"offload"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exited := new(exec.ExitError); err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return output{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// offload runs a command against the operator's server, which must end well.
func (o *operator) offload(args ...string) string {
	o.t.Helper()
	got := command(o.t, append(args, "--address", o.addr)...)
	if got.code != 0 || got.err != "" {
		o.t.Errorf("%s: exit code %d, %s", args, got.code, got.err)
	}
	return got.out
}

// wantText compares text with parts that differ each time: in want, ~ stands for a
// duration, @ for an id, and a space for any number of spaces.
func wantText(t *testing.T, got, want string) {
	t.Helper()
	pattern := regexp.QuoteMeta(strings.TrimSpace(want))
	pattern = strings.NewReplacer("~", `(<1ms|\d+ms|[\d.]+s|-)`, "@", `[0-9a-v]{13}`).Replace(pattern)
	pattern = regexp.MustCompile(`[ ]+`).ReplaceAllString(pattern, ` +`)
	if !regexp.MustCompile(`^` + pattern + `\s*$`).MatchString(got) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Commands show the state of a running server as tables.
func TestCommandsShowPools(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	route {
		offload /quiet/* {
			name "quiet one"
			breaker off
			concurrency off
		}
		offload {
			name reports
			concurrency 1
			queue 2
			max_wait 5m
		}
		reverse_proxy UPSTREAM
	}`)
	c := s.Clients()["h2"]
	url := "https://" + s.Addr
	holdOne(t, s, c, "/hold")
	first := ask(t, c, url+"/first")
	o.untilWaiting("reports", 1)
	second := ask(t, c, url+"/second%1b%5b31m")
	o.untilWaiting("reports", 2)
	full, _ := site.Get(t, c, url+"/full?token=secret")

	wantText(t, o.offload("pools"), `
POOL PHASE RUNNING WAITING OLDEST MEAN RUN BREAKER ADMITTED REJECTED FAILED NOTES
quiet one admitting 0/off 0/100 - - off 0 0 0
reports admitting 1/1 2/2 ~ - closed 1 1 0`)
	wantText(t, o.offload("pool", "reports"), `
pool reports
phase admitting
running 1/1, 0 abandoned, 0 lingering, 0 upgraded
waiting 2/2, oldest ~, in order
mean run -
breaker closed
concurrency 1
upstream_concurrency off
queue 2
max_wait 5m
order auto
linger off
fair_by off
per_key off
queue_per_key off
classes off
admitted 1
left 0
rejected queue_full 1
ended none`)
	wantText(t, o.offload("waiting"), fmt.Sprintf(`
POOL PLACE ID AGE WAITED CLASS CLIENT REQUEST
reports 1 @ ~ ~ default 127.0.0.1 GET %s/first
reports 2 @ ~ ~ default 127.0.0.1 GET %s/second\x1b[31m`, s.Addr, s.Addr))
	wantText(t, o.offload("running", "reports"), fmt.Sprintf(`
POOL ID PHASE AGE IN PHASE CLASS CLIENT REQUEST NOTES
reports @ running ~ ~ default 127.0.0.1 GET %s/hold`, s.Addr))
	if got := o.offload("running", "quiet one"); got != "no requests\n" {
		t.Errorf("got %s", got)
	}
	_, top, _ := strings.Cut(o.offload("top"), "\n\n")
	wantText(t, top, `
POOL RUNNING WAITING OLDEST RUN BREAKER ADMITTED/s REJECTED/s NOTES
quiet one [....................] 0/off [....................] 0/100 - - off - -
reports [####################] 1/1 [####################] 2/2 ~ - closed - -`)
	if got := o.offload("spool"); !strings.Contains(got, "memory") || !strings.Contains(got, "256MiB") {
		t.Errorf("got %s", got)
	}
	id := full.Header.Get("Offload-Request-Id")
	got := o.offload("explain", id)
	if want := fmt.Sprintf("request   GET %s/full from 127.0.0.1\npool      reports\ndecided   ", s.Addr); !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "decision  rejected: queue_full, all permits are taken and the queue is full\n"; !strings.Contains(got, want) || strings.Contains(got, "secret") {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "pool then 1/1 running, 2/2 waiting, breaker closed\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := o.offload("explain"); !strings.Contains(got, id) {
		t.Errorf("got %s", got)
	}
	var answer struct{ Pools []object }
	if err := json.Unmarshal([]byte(o.offload("pools", "--json")), &answer); err != nil || len(answer.Pools) != 2 {
		t.Errorf("got %v, %v", answer, err)
	}
	o.offload("set", "reports", "concurrency=off")
	first.want(t, 200)
	second.want(t, 200)
}

func TestCommandsChangePools(t *testing.T) {
	s, o := serveOperated(t, http.HandlerFunc(blocking), `
	offload {
		name reports
		concurrency 1
	}
	reverse_proxy UPSTREAM`)
	c := s.Clients()["h2"]
	for _, step := range []struct{ command, want string }{
		{"set reports concurrency=16 max_wait=5s order=fifo", "reports: admitting, 0/16 running, 0/100 waiting, breaker closed, concurrency 16 (configured 1), max_wait 5s (configured 10s), order fifo (configured auto)"},
		{"set reports max_wait=reset order=reset", "reports: admitting, 0/16 running, 0/100 waiting, breaker closed, concurrency 16 (configured 1)"},
		{"reset reports", "reports: admitting, 0/1 running, 0/100 waiting, breaker closed"},
		{"breaker reports open", "reports: admitting, 0/1 running, 0/100 waiting, breaker open (forced)"},
		{"breaker reports closed", "reports: admitting, 0/1 running, 0/100 waiting, breaker closed (forced)"},
		{"breaker reports auto", "reports: admitting, 0/1 running, 0/100 waiting, breaker closed"},
		{"pause reports", "reports: paused, 0/1 running, 0/100 waiting, breaker closed"},
		{"drain reports", "reports: draining, 0/1 running, 0/100 waiting, breaker closed"},
		{"drain reports --wait 1s", "reports: draining, 0/1 running, 0/100 waiting, breaker closed"},
		{"resume reports", "reports: admitting, 0/1 running, 0/100 waiting, breaker closed"},
	} {
		if got := o.offload(strings.Fields(step.command)...); got != step.want+"\n" {
			t.Errorf("%s: got %s, want %s", step.command, got, step.want)
		}
	}
	holdOne(t, s, c, "/hold")
	waiter := ask(t, c, "https://"+s.Addr)
	id := o.only("reports", "waiting")
	if got := o.offload("cancel", id); got != id+": cancelled in pool reports while it was waiting\n" {
		t.Errorf("got %s", got)
	}
	waiter.want(t, 503)
	got := command(t, "drain", "reports", "--wait", "10ms", "--address", o.addr)
	if got.code != 3 || got.err != "" || got.out != "reports: draining, 1/1 running, 0/100 waiting, breaker closed\n" {
		t.Errorf("got %+v", got)
	}
}

// Errors have a text for operators and an exit code for shells.
func TestCommandsFail(t *testing.T) {
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname reports\n\t}\n\trespond ok")
	unused := site.FreeAddr(t)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tadmin off\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args string
		want string
	}{
		"no server":       {"pools --address " + unused, "no server answers at " + unused + ": is Caddy running, with its admin endpoint there?"},
		"admin off":       {"pools --config " + file + " --adapter caddyfile", "the admin endpoint is off in " + file + ": commands need it"},
		"unknown pool":    {"pool report --address " + o.addr, "no pool 'report'; did you mean 'reports'?\n"},
		"nothing like it": {"pause xyz --address " + o.addr, "no pool 'xyz'; known pools: 'reports'\n"},
		"bad setting":     {"set reports concurrency=0 --address " + o.addr, "bad concurrency value '0': want a whole number from 1 to 2147483647, or 'off'"},
		"unknown setting": {"set reports concurency=5 --address " + o.addr, "unknown setting 'concurency': want one of concurrency, queue, max_wait, order, linger, per_key, queue_per_key; did you mean 'concurrency'?"},
		"no value":        {"set reports concurrency --address " + o.addr, "bad argument 'concurrency': want key=value, such as concurrency=16"},
		"twice":           {"set reports queue=1 queue=2 --address " + o.addr, "'queue' is set twice"},
		"unknown request": {"cancel 0123456789abc --address " + o.addr, "no request '0123456789abc': it has ended, or there never was one"},
		"no request":      {"explain me --address " + o.addr, "no request 'me': that is not an id"},
		"interval":        {"top --interval 1ms --address " + o.addr, "bad interval '1ms': want at least 100ms"},
	} {
		got := command(t, strings.Fields(test.args)...)
		if got.code != 1 || !strings.Contains(got.err, "Error: "+test.want) || got.out != "" {
			t.Errorf("%s: got %+v, want %s", name, got, test.want)
		}
	}
}

// A server without this module, and a server with its address in a file.
func TestCommandsFindTheServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	addr := server.Listener.Addr().String()
	if got := command(t, "pools", "--address", addr); got.code != 1 || !strings.Contains(got.err, "it is a Caddy without offload") {
		t.Errorf("got %+v", got)
	}
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname reports\n\t}\n\trespond ok")
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\tadmin "+o.addr+"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := command(t, "pools", "--config", file, "--adapter", "caddyfile")
	if got.code != 0 || !strings.Contains(got.out, "reports") {
		t.Errorf("got %+v", got)
	}
}

func TestCommandsCompleteNames(t *testing.T) {
	_, o := serveOperated(t, nil, "\toffload {\n\t\tname \"a pool\"\n\t}\n\toffload {\n\t\tname b\n\t}\n\trespond ok")
	cmd := caddyCommand(t, "__complete", "offload", "pause", "--address", o.addr, "")
	out, err := cmd.Output()
	if err != nil || !strings.HasPrefix(string(out), "a pool\nb\n") {
		t.Errorf("got %s, %v", out, err)
	}
}

// A drain shows its remaining requests: uploads, and those in the pool that this one has
// replaced.
func TestCommandsShowUploads(t *testing.T) {
	const config = "offload {\n name %s\n concurrency 2\n }\n reverse_proxy UPSTREAM"
	s, o := serveOperated(t, http.HandlerFunc(blocking), fmt.Sprintf(config, "old"))
	c, url := s.Clients()["h1"], "https://"+s.Addr
	holdOne(t, s, c, "/hold")
	up := beginUpload(t, c, url)
	o.untilUploading("old", 1)
	drain := func(pool, want string) {
		t.Helper()
		got := command(t, "drain", pool, "--wait", "10ms", "--address", o.addr)
		if got.code != 3 || got.err != "" || got.out != want+"\n" {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
	drain("old", "old: draining, 1/2 running, 0/100 waiting, 1 uploading, breaker closed")
	s.Load(fmt.Sprintf(config, "new"))
	drain("new", "new: draining, 0/1 running, 0/100 waiting, 2 in predecessors, breaker closed")
	if got := o.offload("pool", "new"); !strings.Contains(got, "predecessors         2 in flight, with 1 permits of this pool\n") {
		t.Errorf("got %s", got)
	}
	if got := o.offload("pools"); !strings.Contains(got, "2 in predecessors") {
		t.Errorf("got %s", got)
	}
	up.end()
	up.want(t, 200)
	drain("new", "new: draining, 0/1 running, 0/100 waiting, 1 in predecessors, breaker closed")
}
