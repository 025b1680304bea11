// Package caddyfilesite names pools by their place in a Caddyfile: the matchers of a
// directive and of the blocks around it, and the site.
package caddyfilesite

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Name returns a name for the pool of a directive that has none: the text of its matcher,
// those of the blocks around it, and the site, as in "/report/* in /api/* on :8080". The
// directive's first token is at. A repeatedly imported snippet has several such
// directives, which are read in order.
func Name(h httpcaddyfile.Helper, at caddyfile.Token, matcher string) string {
	block := siteBlock{reflect.ValueOf(h).FieldByName("parentBlock")}
	site := block.address(h.IsNamedRoute())
	places := block.enclosing(at, seen(h, fmt.Sprintf("%s %s:%d", site, at.File, at.Line)))
	if isPlace(matcher) {
		places = append([]string{matcher}, places...)
	}
	if len(places) == 0 {
		return site
	}
	return strings.Join(places, " in ") + " on " + site
}

// LooksLikeMatcher reports whether Caddy reads an argument as a matcher.
func LooksLikeMatcher(arg string) bool { return arg == "*" || isPlace(arg) }

// isPlace reports whether an argument is a matcher of less than all requests.
func isPlace(arg string) bool { return strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "@") }

// seen returns how often a directive at this place has been read before: once for each
// earlier import of a snippet.
func seen(h httpcaddyfile.Helper, place string) int {
	const key = "offload.places"
	places, ok := h.State[key].(map[string]int)
	if !ok {
		places = make(map[string]int)
		h.State[key] = places
	}
	places[place]++
	return places[place] - 1
}

// siteBlock is the site's block around a directive. Caddy's Helper has it only in an
// unexported field, which this package reads by reflection and never changes; a test fails
// when a new version of Caddy moves it.
type siteBlock struct{ block reflect.Value }

// address returns the first address of the site, or the head of the named route, or "site"
// if both are unknown.
func (s siteBlock) address(isNamedRoute bool) string {
	keys := s.list("Keys")
	if !keys.IsValid() || keys.Len() == 0 {
		return "site"
	}
	text := readToken(keys.Index(0)).Text
	switch {
	case text == "":
		return "site"
	case isNamedRoute:
		return "&(" + text + ")"
	}
	return text
}

// enclosing returns the texts of the matchers of the blocks around the nth directive whose
// first token is at, from the innermost to the outermost. Snippets that are imported
// repeatedly have several such directives.
func (s siteBlock) enclosing(at caddyfile.Token, nth int) (matchers []string) {
	segments := s.list("Segments")
	if !segments.IsValid() {
		return nil
	}
	for i := range segments.Len() {
		var tokens []caddyfile.Token
		for j := range segments.Index(i).Len() {
			tokens = append(tokens, readToken(segments.Index(i).Index(j)))
		}
		for _, l := range linesOf(tokens) {
			if l.first.File != at.File || l.first.Line != at.Line || l.first.Text != at.Text {
				continue
			}
			if matchers = l.enclosing; nth == 0 {
				return matchers
			}
			nth--
		}
	}
	return matchers
}

// line is a line of a Caddyfile: its first token, and the matchers of the blocks around it,
// the innermost first.
type line struct {
	first     caddyfile.Token
	enclosing []string
}

func linesOf(tokens []caddyfile.Token) (all []line) {
	var heads [][]caddyfile.Token // the lines that have opened a block
	start := 0
	for i, token := range tokens {
		if i == 0 || token.Line != tokens[i-1].Line || token.File != tokens[i-1].File {
			start = i
			all = append(all, line{token, matchersOf(heads)})
		}
		switch {
		case token.Text == "{":
			heads = append(heads, tokens[start:i])
		case token.Text == "}" && start == i && len(heads) > 0:
			heads = heads[:len(heads)-1]
		}
	}
	return all
}

// matchersOf returns the matchers of these lines, the last line first.
func matchersOf(heads [][]caddyfile.Token) (matchers []string) {
	for _, head := range slices.Backward(heads) {
		if len(head) > 1 && isPlace(head[1].Text) {
			matchers = append(matchers, head[1].Text)
		}
	}
	return matchers
}

// list returns a field of the block that is a slice, or the zero Value.
func (s siteBlock) list(field string) reflect.Value {
	if s.block.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	if list := s.block.FieldByName(field); list.Kind() == reflect.Slice {
		return list
	}
	return reflect.Value{}
}

// readToken copies the exported fields of a token.
func readToken(v reflect.Value) (t caddyfile.Token) {
	file, line, text := v.FieldByName("File"), v.FieldByName("Line"), v.FieldByName("Text")
	if file.Kind() == reflect.String && line.CanInt() && text.Kind() == reflect.String {
		t.File, t.Line, t.Text = file.String(), int(line.Int()), text.String()
	}
	return t
}
