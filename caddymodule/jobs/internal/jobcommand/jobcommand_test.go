package jobcommand_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/jobview"
	"github.com/caddy-offload/caddy-offload/caddymodule/jobs/internal/jobcommand"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
	"github.com/caddy-offload/caddy-offload/offloader/jobs/bolt"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const id = "06h2x4s427ygmq8ms9yf0py78typw43px60g"

// server answers as the admin endpoint does, and notes what it was asked.
func server(t *testing.T, answers map[string]any) (address string, asked *[]string) {
	t.Helper()
	asked = new([]string)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.String())
		v, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			v = map[string]string{"error": "no such job"}
		}
		_ = json.NewEncoder(w).Encode(v)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), asked
}

// run runs a command, and returns what it prints.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := jobcommand.Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func wantAll(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
}

func TestCommandsAboutJobs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	job := jobview.Job{
		ID: id, Route: "exports", Tenant: "one", State: "dead", Reason: "attempts", Created: now, Ended: now, Attempt: 2, MaxAttempts: 4, Bytes: 7, Generation: 2,
		Request:  jobview.Request{Method: "POST", Host: "example.com", Path: "/export\x1b[2J", Client: "192.0.2.7:1", BodySize: 120, ContentType: "text/csv"},
		Response: &jobview.Response{Status: 502},
		Attempts: []jobview.Attempt{{Generation: 2, Number: 1, Began: now, Ended: now.Add(2 * time.Second), Class: "broken", Reason: "timeout", Status: 502}},
		Hook:     &jobview.Hook{URL: "https://hooks.example/", State: "pending", Tries: 3, Error: "status_500"},
	}
	address, asked := server(t, map[string]any{
		"/offload/jobs": jobview.List{Jobs: []jobview.Job{job}, Next: id}, "/offload/jobs/" + id: job,
		"/offload/jobs/" + id + "/retry": job, "/offload/jobs/" + id + "/cancel": job,
	})
	text, err := run(t, "list", "--state", "dead,failed", "--route", "exports", "--limit", "3", "--address", address)
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, text, id, "exports", "dead", "2/4", `POST example.com/export\x1b[2J`, "attempts, generation 2", "more: --after "+id)
	if want := "GET /offload/jobs?limit=3&route=exports&state=dead&state=failed"; (*asked)[0] != want {
		t.Errorf("asked %s, want %s", (*asked)[0], want)
	}
	if text, err = run(t, "show", id, "--address", address); err != nil {
		t.Fatal(err)
	}
	wantAll(t, text, "tenant     one", "120 bytes of text/csv", "status 502", "broken: timeout", "2.0s", "https://hooks.example/, pending, 3 tries, status_500")
	for _, action := range []string{"retry", "cancel"} {
		if text, err = run(t, action, id, "--address", address); err != nil {
			t.Fatal(err)
		}
		wantAll(t, text, id+": dead")
		if last := (*asked)[len(*asked)-1]; last != "POST /offload/jobs/"+id+"/"+action {
			t.Errorf("asked %s", last)
		}
	}
	if text, err = run(t, "list", "--json", "--address", address); err != nil || !json.Valid([]byte(text)) {
		t.Errorf("got %s, %v", text, err)
	}
	if _, err = run(t, "show", "1", "--address", address); err == nil || err.Error() != "no such job" {
		t.Errorf("got %v", err)
	}
}

// A store is checked and exported while no server uses it.
func TestCommandsAboutAStore(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	engine, err := bolt.Open(folder, bolt.Options{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	service, err := jobs.Open(t.Context(), engine, jobs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := service.Accept(t.Context(), jobs.Submission{Route: "exports", Policy: jobs.Policy{MaxAttempts: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, "check", folder); err == nil {
		t.Error("a store in use was checked")
	}
	if err := service.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := run(t, "check", folder)
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, text, "1 jobs", "the store is good")
	if text, err = run(t, "export", folder); err != nil {
		t.Fatal(err)
	}
	var record jobs.Record
	if err := json.Unmarshal([]byte(text), &record); err != nil || record.ID != accepted.View.ID {
		t.Errorf("got %s, %v", text, err)
	}
	damage(t, folder+"/jobs.db")
	if text, err = run(t, "check", folder); err == nil {
		t.Error("a damaged store is good")
	}
	wantAll(t, text, "damaged: ")
	if _, err = run(t, "check", folder, "--key-env", "NO_SUCH_KEY"); err == nil || !strings.Contains(err.Error(), "is no key") {
		t.Errorf("got %v", err)
	}
}

// damage cuts a file.
func damage(t *testing.T, name string) {
	t.Helper()
	if err := os.Truncate(name, 5000); err != nil {
		t.Fatal(err)
	}
}

// The documentation lists each command, and no other.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, have []string
	for _, row := range regexp.MustCompile("(?m)^\\| \\[?`caddy offload jobs ([^`]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, row[1])
	}
	for _, cmd := range jobcommand.Command().Commands() {
		have = append(have, cmd.Use)
	}
	slices.Sort(documented)
	slices.Sort(have)
	if !slices.Equal(documented, have) {
		t.Errorf("documented are %q, there are %q", documented, have)
	}
}
