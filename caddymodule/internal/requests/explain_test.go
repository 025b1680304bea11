package requests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// The ring holds the newest, also when it is resized.
func TestExplanationsAreTheNewest(t *testing.T) {
	l := NewExplanations(3)
	paths := func() (all []string) {
		for _, e := range l.Last(10) {
			all = append(all, e.Who.Read(e.Who.Path))
		}
		return all
	}
	expect := func(step string, want ...string) {
		t.Helper()
		if got := paths(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", step, got, want)
		}
	}
	add := func(n int) { l.Add(new(Explanation), &Identity{Path: fmt.Sprint("/", n)}) }
	expect("nothing")
	for n := range 5 {
		add(n)
	}
	expect("full", "/4", "/3", "/2")
	l.Resize(2)
	expect("smaller", "/4", "/3")
	l.Resize(4)
	add(5)
	expect("larger", "/5", "/4", "/3")
	l.Resize(0)
	add(6)
	expect("off")
	l.Resize(1)
	add(7)
	expect("on again", "/7")
}

func TestExplanationsAreFoundByID(t *testing.T) {
	l := NewExplanations(2)
	var ids []ID
	for n := range 3 {
		ids = append(ids, NewID())
		l.Add(&Explanation{ID: ids[n]}, &Identity{Path: fmt.Sprint("/", n)})
	}
	for n, want := range []bool{false, true, true} {
		id, ok := ParseID(ids[n].String())
		if !ok {
			t.Fatalf("cannot read %s", ids[n])
		}
		if e, got := l.Find(id); got != want || (got && e.Who.Read(e.Who.Path) != fmt.Sprint("/", n)) {
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
		n.write(&Identity{Method: "GET", Client: "127.0.0.1", Host: test.host, Path: test.path})
		got := [4]string{n.Read(n.Method), n.Read(n.Client), n.Read(n.Host), n.Read(n.Path)}
		if want := [4]string{"GET", "127.0.0.1", test.wantHost, test.wantPath}; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// Ids are as long as each other, differ, and are read back.
func TestRequestIDsAsText(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := NewID()
		text := id.String()
		wanted, ok := ParseID(text)
		if len(text) != idLength || seen[text] || !ok || !wanted.Of(id) || wanted.Of(id+1) {
			t.Fatalf("%d is %s", id, text)
		}
		seen[text] = true
	}
	for _, text := range []string{"", "x", "zzzzzzzzzzzzz", "0000000000000 ", "000000000000", "00000000000000"} {
		if _, ok := ParseID(text); ok {
			t.Errorf("%q was read", text)
		}
	}
}

func TestProgressIsReadBack(t *testing.T) {
	var p Progress
	for phase := PhaseUploading; phase < phaseCount; phase++ {
		at := time.Now()
		p.Enter(phase, at)
		if got, since := p.Now(); got != phase || !since.Equal(at) {
			t.Errorf("%s since %s is %s since %s", phase, at, got, since)
		}
	}
}
