package backends

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// A user who mistypes a name learns all of them.
func TestUnknownBackendsListTheKnown(t *testing.T) {
	t.Parallel()
	_, err := Find("nodejs")
	if err == nil || !strings.HasPrefix(err.Error(), `unknown backend "nodejs": known are `) || !strings.Contains(err.Error(), ", node, ") {
		t.Errorf("got %v", err)
	}
	for _, name := range Names() {
		if b, err := Find(name); err != nil || b.Name != name {
			t.Errorf("%s: got %+v, %v", name, b, err)
		}
	}
}

func TestBackendsAreInOrderAndSayWhy(t *testing.T) {
	t.Parallel()
	if !slices.IsSorted(Names()) {
		t.Errorf("names are %v", Names())
	}
	for _, b := range All() {
		if b.Concurrency < 1 || b.Title == "" || b.Reason == "" || b.More == "" {
			t.Errorf("something is missing in %+v", b)
		}
	}
}
