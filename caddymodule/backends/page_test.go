//go:build integration

package backends

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// page is the document whose Caddyfiles are played.
const page = "../../docs/backends.md"

// Parts of a Caddyfile there that a test puts its own in the place of.
var (
	siteBlock    = regexp.MustCompile("(?s)^example\\.com \\{\n(.*)\\}\n$")
	pageUpstream = regexp.MustCompile(`127\.0\.0\.1:\d+|unix//\S+`)
	pageLimit    = regexp.MustCompile(`(?m)^\s*concurrency (\d+)$`)
)

// pageCaddyfile is the block of the page for a kind of server.
func pageCaddyfile(t *testing.T, kind string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(string(text), "\n```caddyfile ") {
		kinds, rest, _ := strings.Cut(part, "\n")
		if slices.Contains(strings.Fields(kinds), kind) {
			block, _, _ := strings.Cut(rest, "```")
			return block
		}
	}
	t.Fatalf("%s has no Caddyfile for %s", page, kind)
	return ""
}

// limitOf is the concurrency in a Caddyfile.
func limitOf(t *testing.T, block string) int {
	t.Helper()
	found := pageLimit.FindStringSubmatch(block)
	if found == nil {
		t.Fatalf("there is no concurrency:\n%s", block)
	}
	limit, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return limit
}

// siteOf is a Caddyfile as the directives of a route in front of a backend, with the
// path that takes its time.
func siteOf(t *testing.T, block string, s *served, path string) string {
	t.Helper()
	inside := siteBlock.FindStringSubmatch(block)
	if inside == nil {
		t.Fatalf("it is no site:\n%s", block)
	}
	text := pageUpstream.ReplaceAllString(inside[1], s.addr)
	text = strings.NewReplacer("/report/*", s.backend.root+"/"+path+"*", "/srv/www", s.root+"/php").Replace(text)
	if s.backend.root != "" {
		text = "\trewrite * " + s.backend.root + "{uri}\n" + text
	}
	return text
}
