package admincommand

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/columns"
)

// Table is text in aligned columns without lines between them: numbers are aligned to the
// right, other cells to the left.
type Table struct{ columns *columns.Table }

// NewTable returns a table with these titles. A leading > marks a column of numbers.
func NewTable(titles ...string) *Table {
	all := make([]columns.Column, len(titles))
	for i, title := range titles {
		name, number := strings.CutPrefix(title, ">")
		all[i] = columns.Column{Title: name, Number: number}
	}
	return &Table{columns.New(all...)}
}

// Add adds a row with a cell for each column.
func (t *Table) Add(cells ...string) { t.columns.Add(cells...) }

// Print writes the titles and the rows.
func (t *Table) Print(w io.Writer) { PrintLines(w, t.columns.Lines(0)) }

// PrintLines writes lines.
func PrintLines(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}

// Terminal returns the width of the terminal that w writes to, or 0 if w is no terminal.
func Terminal(w io.Writer) (width int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width == 0 {
		return usualWidth
	}
	return width
}

// usualWidth is the width of a terminal that does not report its width.
const usualWidth = 80
