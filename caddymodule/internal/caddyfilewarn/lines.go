// Package caddyfilewarn warns of lines of a Caddyfile that contradict the time limit of a
// route (max_time). The warnings name both lines, which only the Caddyfile adapter knows.
package caddyfilewarn

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// line is a line of a Caddyfile, with the heads of the blocks around it, the outermost
// first.
type line struct {
	words  []string
	inside [][]string
	file   string
	number int
}

// String returns the place of the line.
func (l *line) String() string { return fmt.Sprintf("%s:%d", l.file, l.number) }

// linesOf returns the lines of these tokens.
func linesOf(tokens []caddyfile.Token) (all []line) {
	var heads [][]string
	for i := 0; i < len(tokens); {
		l := line{inside: slices.Clone(heads), file: tokens[i].File, number: tokens[i].Line}
		for ; i < len(tokens) && tokens[i].Line == l.number && tokens[i].File == l.file; i++ {
			l.words = append(l.words, tokens[i].Text)
		}
		last := len(l.words) - 1
		switch {
		case l.words[0] == "}":
			heads = heads[:max(len(heads)-1, 0)]
			continue
		case l.words[last] == "{":
			l.words = l.words[:last]
			heads = append(heads, l.words)
		}
		all = append(all, l)
	}
	return all
}

// blocksOf returns the lines of each block of a file: the global options and the sites. It
// reads the file again, since a directive sees neither the global options nor the full text
// of other directives. It returns nothing if the configuration is in no file.
func blocksOf(file string) (global []line, sites [][]line) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil
	}
	blocks, err := caddyfile.Parse(file, text)
	if err != nil {
		return nil, nil
	}
	for _, block := range blocks {
		var lines []line
		for _, segment := range block.Segments {
			lines = append(lines, linesOf(segment)...)
		}
		if len(block.Keys) == 0 {
			global = lines
		} else {
			sites = append(sites, lines)
		}
	}
	return global, sites
}

// duration returns the value of a line, zero without a valid one.
func (l *line) duration() time.Duration {
	if len(l.words) != 2 {
		return 0
	}
	d, err := caddy.ParseDuration(l.words[1])
	if err != nil {
		return 0
	}
	return d
}

// isIn reports whether the innermost blocks around the line begin with these words.
func (l *line) isIn(heads ...string) bool {
	if len(l.inside) < len(heads) {
		return false
	}
	for i, head := range l.inside[len(l.inside)-len(heads):] {
		if head[0] != heads[i] {
			return false
		}
	}
	return true
}

// warn adds a warning to those of the Caddyfile adapter, which Caddy's Helper has in an
// unexported field.
func warn(h httpcaddyfile.Helper, w caddyconfig.Warning) {
	field := reflect.ValueOf(h).FieldByName("warnings")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*[]caddyconfig.Warning]() || field.IsNil() {
		return
	}
	list := reflect.NewAt(field.Type().Elem(), field.UnsafePointer()).Interface().(*[]caddyconfig.Warning)
	if !slices.Contains(*list, w) {
		*list = append(*list, w)
	}
}

// matcherOf returns the matcher of a directive, empty without.
func matcherOf(words []string) string {
	if len(words) > 1 && (words[1] == "*" || strings.HasPrefix(words[1], "/") || strings.HasPrefix(words[1], "@")) {
		return strings.TrimPrefix(words[1], "*")
	}
	return ""
}
