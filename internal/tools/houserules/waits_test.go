package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

// waitLines returns the places of bare waits in the files of a folder.
func waitLines(t *testing.T, files map[string]string) []string {
	t.Helper()
	var w waits
	for name, body := range files {
		if err := w.read(name, []byte("package a\n"+body)); err != nil {
			t.Fatal(err)
		}
	}
	var places []string
	for _, f := range w.bare() {
		place, _, _ := strings.Cut(f.String(), ": ")
		places = append(places, place)
	}
	return places
}

func TestBareWaitsAreFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string // of a test
		want string // line of the finding, empty for none
	}{
		"statement":               {"<-time.After(1)", "3"},
		"value":                   {"_ = <-time.Tick(1)", "3"},
		"timer":                   {"<-time.NewTimer(1).C", "3"},
		"ticker":                  {"<-time.NewTicker(1).C", "3"},
		"polling loop":            {"for ; !done(); <-time.After(1) {\n}", "3"},
		"goroutine":               {"go func() {\n<-time.After(1)\n}()", "4"},
		"select without a choice": {"select {\ncase <-time.After(1):\n}", "4"},
		"body of a case":          {"select {\ncase <-c:\n<-time.After(1)\ncase <-d:\n}", "5"},
		"limit of a select":       {"select {\ncase <-time.After(1):\ncase v := <-c:\n}", ""},
		"limit with a value":      {"select {\ncase now := <-time.After(1):\ncase <-c:\n}", ""},
		"channel":                 {"<-c", ""},
		"method After":            {"<-clock.After(1)", ""},
		"bubble":                  {"synctest.Test(t, func(t *testing.T) {\ngo func() { <-time.After(1) }()\n})", ""},
		"after a bubble":          {"synctest.Test(t, func(t *testing.T) {})\n<-time.After(1)", "4"},
		"argument of a bubble":    {"synctest.Test(later(<-time.After(1)), f)", "3"},
		"waits for a bubble":      {"<-time.After(1)\nsynctest.Wait()", ""},
		"around such a function":  {"<-time.After(1)\nf := func() { synctest.Wait() }", "3"},
		"within such a function":  {"f := func() {\n<-time.After(1)\nsynctest.Wait()\n}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := strings.Join(waitLines(t, map[string]string{"a_test.go": "func TestA(t *testing.T) {\n" + test.body + "\n}\n"}), " ")
			want := test.want
			if want != "" {
				want = "a_test.go:" + want
			}
			if got != want {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
}

func TestFunctionsInBubblesAreKnown(t *testing.T) {
	t.Parallel()
	const (
		pass   = "func pass() { <-time.After(1) }\n"
		passed = "func (s *stage) pass() { <-time.After(1) }\n"
		play   = "func play(t *testing.T, act func()) { synctest.Test(t, func(t *testing.T) { act() }) }\n"
	)
	for name, test := range map[string]struct {
		source string
		bare   bool
	}{
		"called in a bubble":                {pass + "func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { pass() }) }", false},
		"method called in a bubble":         {passed + "func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { s.pass() }) }", false},
		"called by such a function":         {pass + "func more() { pass() }\nfunc TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { more() }) }", false},
		"is the bubble":                     {"func pass(t *testing.T) { <-time.After(1) }\nfunc TestA(t *testing.T) { synctest.Test(t, pass) }", false},
		"called outside":                    {pass + "func TestA(t *testing.T) { pass() }", true},
		"called inside and outside":         {pass + "func TestA(t *testing.T) { pass(); synctest.Test(t, func(t *testing.T) { pass() }) }", true},
		"called by a function used outside": {pass + "func more() { pass() }\nfunc TestA(t *testing.T) { more(); synctest.Test(t, func(t *testing.T) { more() }) }", true},
		"called by itself":                  {"func (s *slow) Read() { <-time.After(1); s.Reader.Read() }", true},
		"never called by name":              {passed, true},
		"taken by a helper":                 {play + "func TestA(t *testing.T) { play(t, func() { <-time.After(1) }) }", false},
		"taken by a helper of a helper": {
			play + "func twice(t *testing.T, act func()) { play(t, act); play(t, func() { act() }) }\n" +
				"func TestA(t *testing.T) { twice(t, func() { <-time.After(1) }) }", false,
		},
		"another argument of a helper": {
			"func play(t *testing.T, before, act func()) { before(); synctest.Test(t, func(t *testing.T) { act() }) }\n" +
				"func TestA(t *testing.T) { play(t, func() { <-time.After(1) }, func() {}) }", true,
		},
		"taken by a helper that also calls it outside": {
			"func play(t *testing.T, act func()) { act(); synctest.Test(t, func(t *testing.T) { act() }) }\n" +
				"func TestA(t *testing.T) { play(t, func() { <-time.After(1) }) }", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := waitLines(t, map[string]string{"a_test.go": test.source}); (len(got) > 0) != test.bare {
				t.Errorf("found %q, want one: %v", got, test.bare)
			}
		})
	}
}

func TestBubblesAreKnownInTheirFolder(t *testing.T) {
	t.Parallel()
	const (
		pass = "func pass() { <-time.After(1) }\n"
		use  = "func TestA(t *testing.T) { synctest.Test(t, func(t *testing.T) { pass() }) }\n"
	)
	if got := waitLines(t, map[string]string{"a/kit_test.go": pass, "a/a_test.go": use}); got != nil {
		t.Errorf("found %q in one folder", got)
	}
	if got := waitLines(t, map[string]string{"a/kit_test.go": pass, "b/a_test.go": use}); len(got) != 1 {
		t.Errorf("found %q in two folders, want one", got)
	}
}

func TestBareWaitsAreForbiddenInTests(t *testing.T) {
	t.Parallel()
	source := &fstest.MapFile{Data: []byte("package a\n\nfunc f() { <-time.After(1) }\n")}
	var out strings.Builder
	ok, err := report(fstest.MapFS{
		"a/a.go": source, "a/a_test.go": source, "internal/testkit/k/a.go": source, "x/internal/kit/a.go": source,
		"b/a_test.go": {Data: []byte("// Code generated by x. DO NOT EDIT.\n\npackage b\n\nfunc f() { <-time.After(1) }\n")},
	}, &out)
	if err != nil || ok {
		t.Fatalf("%v, %v", ok, err)
	}
	want := "a/a_test.go:3: " + instead + "\ninternal/testkit/k/a.go:3: " + instead + "\nx/internal/kit/a.go:3: " + instead + "\nhouse rules: 5 files, 3 findings\n"
	if out.String() != want {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}
