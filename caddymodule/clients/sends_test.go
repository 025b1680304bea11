//go:build integration

package clients

import (
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/clients"
	"github.com/caddy-offload/caddy-offload/internal/testkit"
)

// resultFile is the source of the tables in docs/clients.md.
const resultFile = "../../docs/clients.json"

// settle is how long Caddy may take to log a request after its answer.
const settle = time.Second

// Clients send as often as docs/clients.md says, and not before the announced time if they
// obey it. After a change of a client, write the file again:
//
//	.ci/clients --write
func TestClientsSendAsRecorded(t *testing.T) {
	known, err := clients.Read(resultFile)
	if err != nil && !*anew {
		t.Fatal(err)
	}
	list := append(names(), browserNames()...)
	pools, sites := routes(list)
	p := startProxy(t, pools, sites)
	p.operate(t)
	calls := &record{calls: map[string]clients.Row{}}
	t.Run("clients", func(t *testing.T) {
		for _, k := range here() {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				calls.make(t, p, k)
			})
		}
		for _, b := range browsersHere() {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				calls.browse(t, p, b)
			})
		}
	})
	testkit.Quiet(settle)
	rows := calls.rows(p.sends(t))
	for _, row := range rows {
		check(t, row)
		if !*anew {
			compare(t, known, row)
		}
	}
	if *anew && !t.Failed() {
		if err := (clients.Result{Day: time.Now().Format(time.DateOnly), Rows: rows}).Write(resultFile); err != nil {
			t.Error(err)
		}
	}
}

// record collects what callers saw, by the ids of their calls.
type record struct {
	mu    sync.Mutex
	calls map[string]clients.Row
}

func (r *record) add(id string, row clients.Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[id] = row
}

// make makes the calls of a client, all at once.
func (r *record) make(t *testing.T, p *proxy, k kind) {
	t.Helper()
	c := k.open(t)
	p.arrange(t, k.name)
	var all sync.WaitGroup
	for _, s := range situations {
		for _, method := range methods(k) {
			all.Go(func() {
				one := call{ID: id(k.name, s, method), Method: method, Fields: map[string]string{"X-Forwarded-For": "203.0.113." + strconv.Itoa(1+len(method))}}
				one.URL = p.clear + s.path(k, one.ID)
				if method == http.MethodPost {
					one.Bytes = 7
				}
				got := c.call(t, one)
				s.want(t, k, one, got)
				r.add(one.ID, clients.Row{Client: k.name, Versions: c.versions(), Method: method, Case: s.name, Sees: sees(k, got)})
			})
		}
	}
	all.Wait()
}

// want checks that a caller sees the status, whatever it has done with it, or that its
// client has given up.
func (s situation) want(t *testing.T, k kind, c call, got seen) {
	t.Helper()
	want, ok := s.status, got.Status == s.status
	switch {
	case k.grpc:
		want, ok = s.code, got.Status == s.code
	case got.Status == 0:
		ok = k.givesUp != "" && strings.Contains(got.Error, k.givesUp)
	}
	if !ok {
		t.Errorf("%s: it sees %+v, want %d", c.ID, got, want)
	}
}

// id is that of a call.
func id(name string, s situation, method string) string {
	return strings.Join([]string{name, s.name, method}, "-")
}

// methods are those that a client's calls have.
func methods(k kind) []string {
	if k.grpc {
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodPost}
}

var address = regexp.MustCompile(`(GET|POST) \S+ `)

// sees is what a caller sees, in a few words.
func sees(k kind, got seen) string {
	switch {
	case got.Error == "" && k.grpc:
		return fmt.Sprint("code ", got.Status)
	case got.Error == "":
		return strconv.Itoa(got.Status)
	case got.Status != 0:
		return fmt.Sprint(got.Status, ", ", got.Error)
	default:
		return address.ReplaceAllString(got.Error, "")
	}
}

// rows are the calls with their sends, in the order of clients, situations and methods.
func (r *record) rows(sends map[string][]send) []clients.Row {
	var list []clients.Row
	for _, name := range append(names(), browserNames()...) {
		for _, s := range situations {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				row, ok := r.calls[id(name, s, method)]
				if !ok {
					continue
				}
				of := sends[id(name, s, method)]
				row.Sends, row.Pauses, row.Announced, row.Obeys = len(of), pauses(of), announced(of), obeys(of)
				list = append(list, row)
			}
		}
	}
	return list
}

// check compares a row with what its client can do.
func check(t *testing.T, row clients.Row) {
	t.Helper()
	if row.Sends == 0 {
		t.Errorf("%s, %s %s: it sent nothing: %s", row.Client, row.Case, row.Method, row.Sees)
	}
	for _, k := range kinds {
		if k.name == row.Client && !k.stubborn && !row.Obeys {
			t.Errorf("%s, %s %s: told %v s, it came back after %v s", row.Client, row.Case, row.Method, row.Announced, row.Pauses)
		}
	}
}

// compare compares a row with the file, but for versions and times, which differ each time.
func compare(t *testing.T, known clients.Result, got clients.Row) {
	t.Helper()
	i := slices.IndexFunc(known.Rows, func(r clients.Row) bool {
		return r.Client == got.Client && r.Case == got.Case && r.Method == got.Method
	})
	if i < 0 {
		t.Errorf("%s, %s %s is not in %s: write it anew", got.Client, got.Case, got.Method, resultFile)
		return
	}
	want := known.Rows[i]
	if got.Versions != want.Versions {
		t.Logf("%s is %s now, and was recorded with %s", got.Client, got.Versions, want.Versions)
	}
	if got.GoesOn && want.GoesOn {
		got.Sends = want.Sends
	}
	got.Versions, got.Pauses, got.Announced = want.Versions, want.Pauses, want.Announced
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it does\n%+v\nand the page says\n%+v", got, want)
	}
}
