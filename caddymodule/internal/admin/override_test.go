package admin

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/settings"
	"github.com/caddy-offload/caddy-offload/offloader"
)

func TestOverridesAreRead(t *testing.T) {
	before := offloader.Override{Queue: new(7), Linger: new(time.Second)}
	for name, test := range map[string]struct {
		body string
		want offloader.Override
	}{
		"numbers": {`{"concurrency": 5, "queue": 0}`, offloader.Override{Concurrency: new(5), Queue: new(0), Linger: new(time.Second)}},
		"texts":   {`{"concurrency": "5", "queue": "9"}`, offloader.Override{Concurrency: new(5), Queue: new(9), Linger: new(time.Second)}},
		"off": {
			`{"concurrency": "off", "max_wait": "off", "linger": "off"}`,
			offloader.Override{Concurrency: new(0), MaxWait: new(time.Duration(0)), Queue: new(7), Linger: new(time.Duration(0))},
		},
		"an order": {`{"order": "fifo"}`, offloader.Override{Order: new(offloader.OrderFIFO), Queue: new(7), Linger: new(time.Second)}},
		"null":     {`{"queue": null, "linger": null, "order": null, "max_wait": null, "concurrency": null}`, offloader.Override{}},
	} {
		change, err := parseOverride([]byte(test.body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := before
		change(&got)
		if a, b := show(got), show(test.want); a != b {
			t.Errorf("%s: got %s, want %s", name, a, b)
		}
	}
}

// show writes the overridden settings with their values.
func show(o offloader.Override) string {
	pool, err := offloader.New("shown", offloader.Settings{Concurrency: 99, Queue: 99, MaxWait: 99, Linger: 99})
	if err != nil {
		return err.Error()
	}
	if err := pool.Override(func(all *offloader.Override) { *all = o }); err != nil {
		return err.Error()
	}
	var parts []string
	for name := range settings.Overridable.Overridden(o, offloader.Settings{}) {
		parts = append(parts, name+"="+settings.Text(pool.Settings())[name])
	}
	return strings.Join(slices.Sorted(slices.Values(parts)), " ")
}

// Every accepted override can be applied, and has the values of its text.
func FuzzOverride(f *testing.F) {
	for _, body := range []string{
		`{"concurrency": 5, "queue": "0", "max_wait": "1m30s", "order": "auto", "linger": "off"}`, `{"queue": null}`, `{}`, `[]`,
		`{"concurrency": 1e3}`, `{"max_wait": "9999999h"}`, `{"concurrency": "off", "concurrency": 5}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		change, err := parseOverride([]byte(body))
		if err != nil {
			return
		}
		pool, err := offloader.New("fuzzed", offloader.DefaultSettings())
		if err != nil {
			t.Fatal(err)
		}
		if err := pool.Override(change); err != nil {
			t.Errorf("%s was read and cannot be applied: %v", body, err)
		}
	})
}
