package cli

import (
	"fmt"
	"io"
	"strings"

	prettytable "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// table is aligned text without lines: numbers to the right, all else to the left.
type table struct{ writer prettytable.Writer }

// newTable returns a table with these titles. A title with a > before it is that of a
// column of numbers.
func newTable(titles ...string) *table {
	w := prettytable.NewWriter()
	style := prettytable.StyleDefault
	style.Options = prettytable.OptionsNoBordersAndSeparators
	style.Format = prettytable.FormatOptions{}
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	w.SetStyle(style)
	w.SuppressTrailingSpaces()
	header := make(prettytable.Row, len(titles))
	columns := make([]prettytable.ColumnConfig, len(titles))
	for i, title := range titles {
		name, number := strings.CutPrefix(title, ">")
		align := text.AlignLeft
		if number {
			align = text.AlignRight
		}
		header[i] = name
		columns[i] = prettytable.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align}
	}
	w.AppendHeader(header)
	w.SetColumnConfigs(columns)
	return &table{w}
}

func (t *table) add(cells ...string) {
	row := make(prettytable.Row, len(cells))
	for i, cell := range cells {
		row[i] = cell
	}
	t.writer.AppendRow(row)
}

func (t *table) print(w io.Writer) { fmt.Fprintln(w, t.writer.Render()) }
