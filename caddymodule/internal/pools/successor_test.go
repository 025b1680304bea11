package pools

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// spotsFrom reads "pool@server=backend,backend", with a number behind the name for
// another pool of the same name.
func spotsFrom(t *testing.T, pools map[string]*Pool, text string) (all []Spot) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		where, backends, _ := strings.Cut(word, "=")
		id, server, _ := strings.Cut(where, "@")
		if pools[id] == nil {
			pool, err := offloader.New(strings.TrimRight(id, "0123456789"), offloader.DefaultSettings())
			if err != nil {
				t.Fatal(err)
			}
			pools[id] = &Pool{Pool: pool}
		}
		all = append(all, Spot{Pool: pools[id], Server: server, Backends: strings.FieldsFunc(backends, func(r rune) bool { return r == ',' })})
	}
	return all
}

func TestSuccessors(t *testing.T) {
	for name, of := range map[string]struct{ older, newer, want string }{
		"nothing changes":                  {"a@s=x", "a@s=x", ""},
		"a name changes":                   {"a@s=x", "b@s=x", "a>b"},
		"the server changes too":           {"a@s=x", "b@t=x", "a>b"},
		"one backend of several stays":     {"a@s=x,y", "b@s=z,y", "a>b"},
		"another backend":                  {"a@s=x", "b@s=y", ""},
		"one is added":                     {"a@s=x", "a@s=x b@s=x", ""},
		"one is removed":                   {"a@s=x b@s=x", "a@s=x", ""},
		"two names change":                 {"a@s=x b@s=x", "c@s=x d@s=x", "a>c b>d"},
		"two names change, other backends": {"a@s=x b@s=y", "c@s=y d@s=x", "a>d b>c"},
		"two become one":                   {"a@s=x b@s=y", "c@s=x,y", "a>c b>c"},
		"one becomes two":                  {"a@s=x", "b@s=x c@s=x", "a>b"},
		"several routes":                   {"a@s=x a@s=y", "b@s=y", "a>b"},
		"unknown backends":                 {"a@s", "b@s", "a>b"},
		"unknown backends, other server":   {"a@s", "b@t", ""},
		"known and unknown":                {"a@s", "b@s=x", ""},
		"it comes back":                    {"a@s=x", "a2@s=x", "a>a2"},
		"it comes back in another place":   {"a@s=x", "b@s=x a2@t=y", "a>a2"},
		"there was nothing":                {"", "a@s=x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pools := make(map[string]*Pool)
			older, newer := spotsFrom(t, pools, of.older), spotsFrom(t, pools, of.newer)
			ids := make(map[*Pool]string)
			for id, pool := range pools {
				ids[pool] = id
			}
			var got []string
			for _, p := range successors(older, newer) {
				got = append(got, fmt.Sprintf("%s>%s", ids[p.elder], ids[p.heir]))
			}
			if text := strings.Join(got, " "); text != of.want {
				t.Errorf("got %q, want %q", text, of.want)
			}
		})
	}
}
