package cli

import (
	"fmt"
	"strings"
)

// didYouMean proposes the name that is closest to a wrong one, if any is close.
func didYouMean(wrong string, names []string) string {
	best, least := "", len(wrong)/2+1
	for _, name := range names {
		d := distance(strings.ToLower(wrong), strings.ToLower(name))
		if strings.Contains(strings.ToLower(name), strings.ToLower(wrong)) {
			d = min(d, 1)
		}
		if d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean '%s'?", best)
}

// distance is how many letters must be put in, left out or replaced.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i, r := range from {
		diagonal := row[0]
		row[0] = i + 1
		for j, s := range to {
			replaced := diagonal
			if r != s {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(to)]
}
