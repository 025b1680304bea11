package celery_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	celeryhandler "github.com/caddy-offload/caddy-offload/caddymodule/celery"
)

// provision loads a handler from JSON and cleans it up.
func provision(t *testing.T, config string) error {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	module, err := ctx.LoadModuleByID("http.handlers.celery", json.RawMessage(config))
	if err != nil {
		return err
	}
	return module.(*celeryhandler.Handler).Cleanup()
}

// route returns the JSON of a route with the required options and those in more.
func route(t *testing.T, more string) string {
	t.Helper()
	fields := map[string]any{"broker": "redis://127.0.0.1", "backend": "redis://127.0.0.1/1", "task": "lab.add"}
	var other map[string]any
	if err := json.Unmarshal([]byte(more), &other); err != nil {
		t.Fatal(err)
	}
	maps.Copy(fields, other)
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Invalid JSON is an error that names the fault. For Caddyfiles, see testdata.
func TestJSONRefused(t *testing.T) {
	for more, want := range map[string]string{
		`{"tasc": "a"}`:                                    "unknown field",
		`{"tls": {"ciphers": 1}}`:                          "unknown field",
		`{"broker": ""}`:                                   "celery needs a broker",
		`{"broker": "{env.CELERY_TEST_UNSET}"}`:            "celery needs a broker",
		`{"broker": "ftp://127.0.0.1"}`:                    "broker: want a URL that begins with",
		`{"backend": "{env.CELERY_TEST_UNSET}x"}`:          "backend: want a URL that begins with",
		`{"broker": "redis://:secret@[::1"}`:               "broker: reading the URL of Redis: not a URL",
		`{"backend": ""}`:                                  "celery needs a backend",
		`{"task": ""}`:                                     "celery needs a task",
		`{"task": "{http.request.uri.path}"}`:              "set 'tasks' to those that they may choose",
		`{"tasks": ["a"]}`:                                 "'tasks' is for a task that clients choose",
		`{"queue": "{http.request.uri.path}"}`:             "set 'queues' to those that they may choose",
		`{"args": ["int(x)"]}`:                             "args 1 'int(x)': want a whole number",
		`{"args_from": "path"}`:                            "unknown args_from 'path'",
		`{"args_from": "query", "kwargs_from": ["query"]}`: "the query is used twice",
		`{"kwargs": {"a": "bool(x)"}}`:                     "kwargs 'a' 'bool(x)': want true or false",
		`{"kwargs": {"a": "1", "a?": "1"}}`:                "with and without a question mark",
		`{"kwargs_from": ["json", "form"]}`:                "the body is used twice",
		`{"headers": {"retries": "1"}}`:                    "header 'retries' is reserved by Celery",
		`{"headers": {"a": "float(x)"}}`:                   "headers 'a' 'float(x)': want a number",
		`{"priority": 10}`:                                 "priority 10 is not between 0 and 9",
		`{"timeout": "-1s"}`:                               "timeout must not be negative",
		`{"timeout": "9000h"}`:                             "timeout must not be above",
		`{"expires": "-1s"}`:                               "expires must not be negative",
		`{"time_limit": {}}`:                               "time_limit: set a limit, or 'off' alone",
		`{"time_limit": {"off": true, "hard": 1}}`:         "time_limit: set a limit, or 'off' alone",
		`{"time_limit": {"hard": "1s", "soft": "2s"}}`:     "the soft time limit is above the hard one",
		`{"time_limit": {"hard": "1us"}}`:                  "time limit",
		`{"max_body": -1}`:                                 "max_body must be from 1 to",
		`{"max_body": 16777217}`:                           "max_body must be from 1 to",
		`{"max_outstanding": {}}`:                          "set either 'count' or 'per_slot'",
		`{"max_outstanding": {"count": 1, "per_slot": 1}}`: "set either 'count' or 'per_slot'",
		`{"max_outstanding": {"count": -1}}`:               "set either 'count' or 'per_slot'",
		`{"result": "xml"}`:                                "unknown result 'xml': want json or raw or http or none",
		`{"detail": "all"}`:                                "unknown detail 'all'",
		`{"progress": "yes"}`:                              "unknown progress 'yes': want on or off",
		`{"revoke": "yes"}`:                                "unknown revoke 'yes'",
		`{"worker_check": "yes"}`:                          "unknown worker_check 'yes'",
		`{"task_check": "yes"}`:                            "unknown task_check 'yes'",
		`{"errors": {"A": 200}}`:                           "errors 'A' 200: want an exception and an error status",
		`{"errors": {"": 400}}`:                            "errors '' 400: want an exception and an error status",
		`{"content_type": "a/b"}`:                          "'content_type' is for 'result raw'",
		`{"ignore_result": true}`:                          "'ignore_result' is for 'result none'",
		`{"flower": true}`:                                 "flower needs the tasks that clients may choose",
		`{"connections": -1}`:                              "must not be negative",
		`{"reconnect_timeout": -1}`:                        "must not be negative",
		`{"patience": 1}`:                                  "'patience' is now 'reconnect_timeout'",
		`{"poll": true, "backend": "rpc://"}`:              "'poll' is for a Redis backend",
		`{"master_name": "a"}`:                             "'master_name' is for sentinel://",
		`{"tls": {"insecure_skip_verify": true}}`:          "'tls' is for rediss://, amqps:// and sentinel://",
		`{"tls": {"trusted_ca": ["missing.pem"]}}`:         "tls: open missing.pem",
		`{"tls": {"trusted_ca": ["config_test.go"]}}`:      "tls: no certificate in 'config_test.go'",
		`{"tls": {"certificate": "missing.pem"}}`:          "tls: open missing.pem",
	} {
		err := provision(t, route(t, more))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %s", more, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error shows the password", more)
		}
	}
	if n := celeryhandler.Links(); n != 0 {
		t.Errorf("%d links are held", n)
	}
}

// Secrets can come from the environment, without being part of the configuration.
func TestPlaceholdersOfTheEnvironment(t *testing.T) {
	t.Setenv("CELERY_TEST_BROKER", "redis://:secret@127.0.0.1/nonsense")
	err := provision(t, route(t, `{"broker": "{env.CELERY_TEST_BROKER}"}`))
	if err == nil || !strings.Contains(err.Error(), "bad database 'nonsense': want a whole number from 0") {
		t.Errorf("error is %v", err)
	}
	t.Setenv("CELERY_TEST_BROKER", "redis://:secret@127.0.0.1/3")
	if err := provision(t, route(t, `{"broker": "{env.CELERY_TEST_BROKER}"}`)); err != nil {
		t.Error(err)
	}
}

// Cleanup can be called more than once, and before Provision.
func TestCleanupOfAHandlerThatIsNotThere(t *testing.T) {
	h := new(celeryhandler.Handler)
	for range 2 {
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	}
}

func TestFilesOfTLS(t *testing.T) {
	cert, key := certificate(t)
	config := `{"broker": "rediss://127.0.0.1", "tls": {"trusted_ca": [%], "certificate": %, "key": "KEY"}}`
	config = strings.ReplaceAll(strings.ReplaceAll(config, "%", `"`+cert+`"`), "KEY", key)
	if err := provision(t, route(t, config)); err != nil {
		t.Error(err)
	}
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := provision(t, route(t, strings.ReplaceAll(config, key, broken))); err == nil {
		t.Error("a broken key was taken")
	}
}
