package columns_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/columns"
)

func lines(width int, rows ...[]string) []string {
	t := columns.New(columns.Column{Title: "NAME", Least: 12}, columns.Column{Title: "N", Number: true},
		columns.Column{Title: "MORE", Rank: 2}, columns.Column{Title: "NOTES", Rank: 1, Least: 12})
	for _, row := range rows {
		t.Add(row...)
	}
	return t.Lines(width)
}

func TestTablesAreAligned(t *testing.T) {
	t.Parallel()
	got := lines(0, []string{"ünï", "1", "", "x"}, []string{"a", "1000", "", ""})
	if want := []string{"NAME     N  MORE  NOTES", "ünï      1        x", "a     1000"}; !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// A terminal shows these characters in two columns.
func TestTablesAlignWideCharacters(t *testing.T) {
	t.Parallel()
	got := lines(0, []string{"生命", "1", "", "x"}, []string{"abcde", "2", "", "y"})
	if want := []string{"NAME   N  MORE  NOTES", "生命   1        x", "abcde  2        y"}; !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// In a narrow terminal columns go first, by their rank, and then words.
func TestTablesFitAWidth(t *testing.T) {
	t.Parallel()
	row := []string{"/report/* on :8080", "7", "more", "warming up, 1 of 3, 2 abandoned"}
	for width, want := range map[int]string{
		0:  "/report/* on :8080  7  more  warming up, 1 of 3, 2 abandoned",
		60: "/report/* on :8080  7  more  warming up, 1 of 3, 2 abandoned",
		50: "/report/* on :8080  7  more  warming up, 1 of 3…",
		40: "/report/* on…  7  more  warming up…",
		30: "/report/* on…  7  warming up…",
		20: "/report/* on…  7",
		9:  "/report/*…  7",
	} {
		if got := lines(width, row)[1]; strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
	if got := lines(40, []string{"a", "1", "", ""}); got[0] != "NAME  N" {
		t.Errorf("an empty column is shown: %q", got)
	}
}

func TestTextsAreShortenedAtWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"ab cd", 4, "ab…"},
		{"ab cd", 3, "ab…"},
		{"one, two", 6, "one…"},
		{"生命生命", 5, "生命…"},
		{"abc", 0, ""},
		{"", 0, ""},
	} {
		if got := columns.Shorten(test.text, test.width); got != test.want {
			t.Errorf("%q in %d is %q, want %q", test.text, test.width, got, test.want)
		}
	}
}
