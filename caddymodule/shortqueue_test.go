package caddymodule_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
	"github.com/caddy-offload/caddy-offload/internal/testkit/site"
)

// A queue that is too short for clients that come back at whole seconds is named at load,
// once for each pool.
func TestShortQueuesAreNamedAtLoad(t *testing.T) {
	const warning = "queue has fewer places than runs that end in a second"
	file := filepath.Join(t.TempDir(), "log")
	pools := map[string]struct {
		words string
		want  int
	}{
		"none":    {"queue 0", 1},
		"held":    {"queue 0\n reject_hold 500ms", 0},
		"one":     {"queue 1", 0},
		"endless": {"concurrency off\n queue 0", 0},
		"default": {"", 0},
	}
	var body strings.Builder
	for name, pool := range pools {
		fmt.Fprintf(&body, "offload /%s {\n name %s\n %s\n }\n", name, name, pool.words)
	}
	body.WriteString("offload /shared/1 shared\n offload /shared/2 shared\n reverse_proxy UPSTREAM")
	site.ServeGlobal(t, http.HandlerFunc(blocking), fmt.Sprintf(
		"log {\n output file %s\n level INFO\n }\n offload {\n pool shared {\n queue 0\n }\n }", file), body.String())
	logged := func(pool string) int {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, warning) && strings.Contains(line, `"pool":"`+pool+`"`) {
				n++
			}
		}
		return n
	}
	testkit.Eventually(t, func() bool { return logged("none") > 0 })
	for name, pool := range pools {
		if got := logged(name); got != pool.want {
			t.Errorf("%q: %d warnings, want %d", pool.words, got, pool.want)
		}
	}
	if got := logged("shared"); got != 1 {
		t.Errorf("a shared pool: %d warnings", got)
	}
}
