package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The ring holds the newest, also when it is resized.
func TestExplanationsAreTheNewest(t *testing.T) {
	l := newExplanations(3)
	paths := func() (all []string) {
		for _, e := range l.last(10) {
			all = append(all, e.who.read(e.who.path))
		}
		return all
	}
	expect := func(step string, want ...string) {
		t.Helper()
		if got := paths(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	add := func(n int) { l.add(new(explanation), &identity{path: fmt.Sprint("/", n)}) }
	expect("nothing")
	for n := range 5 {
		add(n)
	}
	expect("full", "/4", "/3", "/2")
	l.resize(2)
	expect("smaller", "/4", "/3")
	l.resize(4)
	add(5)
	expect("larger", "/5", "/4", "/3")
	l.resize(0)
	add(6)
	expect("off")
	l.resize(1)
	add(7)
	expect("on again", "/7")
}

func TestExplanationsAreFoundByID(t *testing.T) {
	l := newExplanations(2)
	var ids []requestID
	for n := range 3 {
		ids = append(ids, newRequestID())
		l.add(&explanation{id: ids[n]}, &identity{path: fmt.Sprint("/", n)})
	}
	for n, want := range []bool{false, true, true} {
		id, ok := parseRequestID(ids[n].String())
		if !ok {
			t.Fatalf("cannot read %s", ids[n])
		}
		if e, got := l.find(id); got != want || (got && e.who.read(e.who.path) != fmt.Sprint("/", n)) {
			t.Errorf("%d: found %t", n, got)
		}
	}
}

func TestNotesAreShortAndWithoutSecrets(t *testing.T) {
	for name, test := range map[string]struct{ host, path, wantHost, wantPath string }{
		"as they are":             {"example.com", "/a/b", "example.com", "/a/b"},
		"userinfo in the host":    {"user:secret@example.com", "/", "example.com", "/"},
		"userinfo in the path":    {"", "/get/https://user:secret@example.com/a", "", "/get/https://***@example.com/a"},
		"twice":                   {"", "//a@b/c//d@e", "", "//***@b/c//***@e"},
		"an @ that is no such":    {"", "/@user/a@b", "", "/@user/a@b"},
		"an @ behind the host":    {"", "/get/https://example.com/@user", "", "/get/https://example.com/@user"},
		"a path that just fits":   {"", "/" + strings.Repeat("a", 199), "", "/" + strings.Repeat("a", 199)},
		"a path that is too long": {"", "/" + strings.Repeat("a", 200), "", "/" + strings.Repeat("a", 196) + "..."},
	} {
		var n note
		n.write(&identity{method: "GET", client: "127.0.0.1", host: test.host, path: test.path})
		got := [4]string{n.read(n.method), n.read(n.client), n.read(n.host), n.read(n.path)}
		if want := [4]string{"GET", "127.0.0.1", test.wantHost, test.wantPath}; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Ids are as long as each other, differ, and are read back.
func TestRequestIDsAsText(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := newRequestID()
		text := id.String()
		wanted, ok := parseRequestID(text)
		if len(text) != requestIDLength || seen[text] || !ok || !wanted.of(id) || wanted.of(id+1) {
			t.Fatalf("%d is %s", id, text)
		}
		seen[text] = true
	}
	for _, text := range []string{"", "x", "zzzzzzzzzzzzz", "0000000000000 ", "000000000000", "00000000000000"} {
		if _, ok := parseRequestID(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}

func TestProgressIsReadBack(t *testing.T) {
	var p progress
	for phase := phaseUploading; phase < requestPhaseCount; phase++ {
		at := time.Now()
		p.enter(phase, at)
		if got, since := p.now(); got != phase || !since.Equal(at) {
			t.Errorf("%s since %s is %s since %s", phase, at, got, since)
		}
	}
}
