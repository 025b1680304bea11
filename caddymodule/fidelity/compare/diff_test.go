package compare

import (
	"slices"
	"strings"
)

// diff shows the lines that only one of two records has. It is empty if they are
// equal.
func (x *exchange) diff(y *exchange) string {
	was, is := x.lines(), y.lines()
	if slices.Equal(was, is) {
		return ""
	}
	common := commonLines(was, is)
	var b strings.Builder
	line := func(mark, text string) { b.WriteString(mark + " " + text + "\n") }
	i, j := 0, 0
	for i < len(was) || j < len(is) {
		switch {
		case i < len(was) && j < len(is) && was[i] == is[j]:
			i, j = i+1, j+1
		case j == len(is) || (i < len(was) && common[i+1][j] >= common[i][j+1]):
			line("-", was[i])
			i++
		default:
			line("+", is[j])
			j++
		}
	}
	return b.String()
}

// commonLines counts how many lines the two have in common from each pair of
// lines on, in the textbook way: records are short.
func commonLines(was, is []string) [][]int {
	common := make([][]int, len(was)+1)
	for i := range common {
		common[i] = make([]int, len(is)+1)
	}
	for i := range slices.Backward(was) {
		for j := range slices.Backward(is) {
			if was[i] == is[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	return common
}
