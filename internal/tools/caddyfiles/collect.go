package main

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/caddy-offload/caddy-offload/internal/tools/tree"
)

// kind is the claimed content of a piece.
type kind int

const (
	wholeFile kind = iota // a file that is a whole Caddyfile
	block                 // a whole Caddyfile or the directives of a site
	fragment              // only its format can be checked
)

// piece is one Caddyfile or code block.
type piece struct {
	file    string
	line    int // of the block's first line, 0 for a file
	kind    kind
	content string
}

// place returns the position of the piece for error messages.
func (p piece) place() string {
	if p.kind == wholeFile {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}

// collect returns all pieces of a tree.
func collect(fsys fs.FS) ([]piece, error) {
	files, err := tree.Files(fsys, func(name string) bool {
		return path.Ext(name) == ".md" || isCaddyfile(name)
	})
	if err != nil {
		return nil, err
	}
	var pieces []piece
	for _, name := range files {
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if isCaddyfile(name) {
			pieces = append(pieces, piece{file: name, content: string(content)})
			continue
		}
		pieces = append(pieces, blocks(name, string(content))...)
	}
	return pieces, nil
}

// isCaddyfile reports whether Caddy would find and adapt a file with this name.
func isCaddyfile(name string) bool {
	return path.Base(name) == "Caddyfile" || path.Ext(name) == ".caddyfile"
}

// blocks returns the Caddyfile blocks of a Markdown file. The fence's indent is
// removed from the block's lines, as in Markdown.
func blocks(name, content string) []piece {
	var pieces []piece
	var current *piece
	indent, fence, number := "", "", 0
	for line := range strings.Lines(content) {
		number++
		text := strings.TrimSpace(line)
		switch {
		case fence == "" && strings.HasPrefix(text, "```"):
			info := strings.TrimLeft(text, "`")
			fence = text[:len(text)-len(info)]
			indent = line[:strings.Index(line, fence)]
			current = newBlock(name, number+1, strings.Fields(info))
		case fence == "":
		case strings.HasPrefix(text, fence) && strings.Trim(text, "`") == "":
			if current != nil {
				pieces = append(pieces, *current)
			}
			fence, current = "", nil
		case current != nil:
			current.content += strings.TrimPrefix(line, indent)
		}
	}
	return pieces
}

// newBlock starts a piece if the info string of its fence marks one.
func newBlock(name string, line int, info []string) *piece {
	if len(info) == 0 || !strings.EqualFold(info[0], "caddyfile") {
		return nil
	}
	p := &piece{file: name, line: line, kind: block}
	if len(info) > 1 && info[1] == "fragment" {
		p.kind = fragment
	}
	return p
}
