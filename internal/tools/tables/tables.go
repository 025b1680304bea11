// Package tables writes tables in Markdown between marks in a page.
package tables

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrDiffer means that a page has other tables.
var ErrDiffer = errors.New("its tables differ")

// Page compares the tables in a page with the given ones, and returns [ErrDiffer] if they
// differ. With write it replaces them instead.
func Page(file string, tables map[string]string, write bool) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the page: %w", err)
	}
	made, err := Fill(string(text), tables)
	if err != nil || made == string(text) {
		return err
	}
	if !write {
		return ErrDiffer
	}
	if err := os.WriteFile(file, []byte(made), 0o644); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

// Fill puts each table between its marks, `<!-- name -->` and `<!-- end of name -->`.
func Fill(page string, tables map[string]string) (string, error) {
	for name, table := range tables {
		begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(page, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			return "", fmt.Errorf("the page has no place for the table %s", name)
		}
		page = before + begin + table + end + after
	}
	return page, nil
}

// Format formats rows, the head first.
func Format(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}
