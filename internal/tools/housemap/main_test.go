package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The tool measures itself: its files, its largest type, the places of a name, and the
// way from its entry.
func TestMapOfThisTool(t *testing.T) {
	t.Chdir("../../..")
	h, err := load("internal/tools/housemap")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	h.printPackages(&out)
	h.printLargestType(&out)
	if err := h.printSetting(&out, "isCircular"); err != nil {
		t.Fatal(err)
	}
	if err := h.printWay(&out, "run", nil, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"internal/tools/housemap  4 ",
		"most methods: main.house",
		"isCircular is written in 0 files",
		"housemap/load.go\tgithub.com/caddy-offload/caddy-offload/internal/tools/housemap.load\n",
		"the way of run: ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if err := h.printWay(&out, "missing", nil, false); err == nil {
		t.Error("a way from a function that there is not")
	}
}

// A place has run if it is within a block of the profile with a count above zero.
func TestProfile(t *testing.T) {
	file := t.TempDir() + "/profile"
	writeFile(t, file, "mode: set\nexample.com/a/b/c.go:3.10,5.2 2 1\nexample.com/a/b/c.go:7.1,9.2 1 0\n")
	got, err := readProfile(file)
	if err != nil || len(got["b/c.go"]) != 1 || got["b/c.go"][0] != (block{3, 10, 5, 2}) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := readProfile(file + "missing"); err == nil {
		t.Error("a profile that is missing was read")
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
