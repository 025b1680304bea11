// Package columns lays out tables for the width of a terminal. Columns are left out, the
// least important first, before a cell is shortened; and a cell is shortened at a word.
package columns

import (
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Column is a column of a table.
type Column struct {
	Title  string
	Number bool // aligned to the right
	// Rank decides which columns are left out first in a narrow terminal: those with the
	// highest rank. Columns of rank 0 are never left out.
	Rank int
	// Least is the width to which the column may be shortened, 0 if it may not be.
	Least int
}

// Table is text in columns. Cells may contain colours, if their columns are never
// shortened.
type Table struct {
	columns []Column
	rows    [][]string
}

// gap stands between two columns.
const gap = "  "

// New returns an empty table.
func New(columns ...Column) *Table { return &Table{columns: columns} }

// Add adds a row with a cell for each column.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Lines returns the titles and the rows in lines of at most this width, 0 for any. Lines
// have no spaces at their ends. If not even the columns of rank 0 fit, lines are longer.
func (t *Table) Lines(width int) []string {
	natural := t.widths()
	shown := t.choose(natural, width)
	widths := t.fit(natural, shown, width)
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.Title
	}
	var lines []string
	for _, cells := range append([][]string{titles}, t.rows...) {
		lines = append(lines, t.line(cells, shown, widths))
	}
	return lines
}

// widths returns the width that each column needs.
func (t *Table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = ansi.StringWidth(c.Title)
		for _, row := range t.rows {
			widths[i] = max(widths[i], ansi.StringWidth(row[i]))
		}
	}
	return widths
}

// choose returns the columns that are shown, by their indexes. In a limited width a column
// without any text is left out.
func (t *Table) choose(natural []int, width int) (shown []int) {
	for i, c := range t.columns {
		if width == 0 || c.Rank == 0 || t.hasText(i) {
			shown = append(shown, i)
		}
	}
	for width > 0 && t.least(natural, shown) > width {
		out, rank := -1, 0
		for at, i := range shown {
			if r := t.columns[i].Rank; r > rank {
				out, rank = at, r
			}
		}
		if out < 0 {
			break
		}
		shown = slices.Delete(shown, out, out+1)
	}
	return shown
}

func (t *Table) hasText(column int) bool {
	return slices.ContainsFunc(t.rows, func(row []string) bool { return row[column] != "" })
}

// least returns the least width of a line with these columns.
func (t *Table) least(natural, shown []int) int {
	sum := len(gap) * (len(shown) - 1)
	for _, i := range shown {
		sum += t.leastOf(natural, i)
	}
	return sum
}

func (t *Table) leastOf(natural []int, i int) int {
	if least := t.columns[i].Least; least > 0 {
		return min(natural[i], max(least, ansi.StringWidth(t.columns[i].Title)))
	}
	return natural[i]
}

// fit returns the widths of the columns. Columns that can be shortened share, from left to
// right, the width that the others leave.
func (t *Table) fit(natural, shown []int, width int) []int {
	if width == 0 {
		return natural
	}
	widths := slices.Clone(natural)
	free := max(width-t.least(natural, shown), 0)
	for _, i := range shown {
		least := t.leastOf(natural, i)
		more := min(natural[i]-least, free)
		widths[i] = least + more
		free -= more
	}
	return widths
}

func (t *Table) line(cells []string, shown, widths []int) string {
	var b strings.Builder
	for at, i := range shown {
		if at > 0 {
			b.WriteString(gap)
		}
		cell := Shorten(cells[i], widths[i])
		space := strings.Repeat(" ", max(widths[i]-ansi.StringWidth(cell), 0))
		if t.columns[i].Number {
			b.WriteString(space + cell)
		} else {
			b.WriteString(cell + space)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// ellipsis stands for the rest of a text.
const ellipsis = "…"

// Shorten returns text of at most this width. It cuts after a word if there is one that
// fits.
func Shorten(text string, width int) string {
	if ansi.StringWidth(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	cut := ansi.Truncate(text, width-1, "")
	rest := text[len(cut):]
	if !strings.HasPrefix(rest, " ") {
		if space := strings.LastIndex(cut, " "); space > 0 {
			cut = cut[:space]
		}
	}
	return strings.TrimRight(cut, " ,;") + ellipsis
}
