package main

import (
	"slices"
	"testing"
	"testing/fstest"
)

const manual = "# Manual\n" +
	"\n" +
	"```caddyfile\n" +
	"example.com {\n" +
	"\toffload\n" +
	"}\n" +
	"```\n" +
	"\n" +
	"```json\n" +
	"{}\n" +
	"```\n" +
	"- a list\n" +
	"\n" +
	"  ```Caddyfile fragment\n" +
	"  pool reports\n" +
	"  ```\n" +
	"\n" +
	"````markdown\n" +
	"```caddyfile\n" +
	"quoted\n" +
	"```\n" +
	"````\n"

func TestCollectFindsFilesAndBlocks(t *testing.T) {
	t.Parallel()
	got, err := collect(fstest.MapFS{
		"Caddyfile":              {Data: []byte(":80\n")},
		"docs/manual.md":         {Data: []byte(manual)},
		"examples/a.caddyfile":   {Data: []byte(":81\n")},
		"examples/Caddyfile.txt": {Data: []byte("no\n")},
		"testdata/Caddyfile":     {Data: []byte("broken {\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []piece{
		{file: "Caddyfile", content: ":80\n"},
		{file: "docs/manual.md", line: 4, kind: block, content: "example.com {\n\toffload\n}\n"},
		{file: "docs/manual.md", line: 15, kind: fragment, content: "pool reports\n"},
		{file: "examples/a.caddyfile", content: ":81\n"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("pieces are\n%+v, want\n%+v", got, want)
	}
}

func TestPlacesAreReadable(t *testing.T) {
	t.Parallel()
	if got := (piece{file: "Caddyfile"}).place(); got != "Caddyfile" {
		t.Errorf("a file is %q", got)
	}
	if got := (piece{file: "README.md", line: 7, kind: block}).place(); got != "README.md:7" {
		t.Errorf("a block is %q", got)
	}
}
