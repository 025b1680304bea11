package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	const page = "# Title\n\n[a](#some-headings) [b](b.md#it-is-on_abandon) [c](../lib) [d](../LICENSE)\n" +
		"[e](https://example.com/gone#x) `[f](gone.md)`\n" +
		"[g](gone.md)\n[h](b.md#gone) [i](#gone)\n\n## Some `headings`\n\n```\n# gone\n[j](gone.md)\n```\n"
	var out strings.Builder
	_, err := report(fstest.MapFS{
		"docs/a.md":  {Data: []byte(page)},
		"docs/b.md":  {Data: []byte("# It is: `on_abandon`!\n\n## Twice\n\n## Twice\n\n[k](#twice-1) [l](#twice-2)\n")},
		"lib/lib.go": {Data: []byte("package lib\n")},
		"LICENSE":    {},
	}, &out)
	if err != nil {
		t.Fatal(err)
	}
	want := "docs/a.md:5: broken link: gone.md\ndocs/a.md:6: broken link: b.md#gone\ndocs/a.md:6: broken link: #gone\n" +
		"docs/b.md:7: broken link: #twice-2\nhouse rules: 3 files, 4 findings\n"
	if out.String() != want {
		t.Errorf("output is %q, want %q", out.String(), want)
	}
}
