package tables_test

import (
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/tools/tables"
)

func TestTablesGoBetweenTheirMarks(t *testing.T) {
	t.Parallel()
	got, err := tables.Fill("a\n<!-- x -->\nold\n<!-- end of x -->\nb\n", map[string]string{"x": "new\n"})
	if want := "a\n<!-- x -->\nnew\n<!-- end of x -->\nb\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := tables.Fill("<!-- x -->\n", map[string]string{"x": ""}); err == nil || !strings.Contains(err.Error(), "table x") {
		t.Errorf("without an end: %v", err)
	}
}
