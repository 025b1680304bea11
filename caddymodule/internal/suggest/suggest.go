// Package suggest completes errors about unknown names: with the name that was probably
// meant, and with the names that are known.
package suggest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// DidYouMean returns a question for the known name that is closest to a wrong one, after
// separator, or nothing if none is close.
func DidYouMean(separator, wrong string, known []string) string {
	closest, least := "", len(wrong)/2+1
	for _, name := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(wrong), strings.ToLower(name))
		if strings.Contains(strings.ToLower(name), strings.ToLower(wrong)) {
			d = min(d, 1)
		}
		if d < least {
			closest, least = name, d
		}
	}
	if closest == "" {
		return ""
	}
	return fmt.Sprintf("%sdid you mean '%s'?", separator, closest)
}

// Pool returns the end of an error about an unknown pool: the name that was probably meant,
// or else all names.
func Pool(wrong string, known []string) string {
	if hint := DidYouMean("; ", wrong, known); hint != "" {
		return hint
	}
	return KnownPools(known)
}

// maxKnown bounds the names in an error.
const maxKnown = 20

// KnownPools returns the names of all pools as the end of an error about an unknown one,
// or nothing if there are none.
func KnownPools(names []string) string {
	if len(names) == 0 {
		return ""
	}
	var quoted []string
	for _, name := range slices.Sorted(slices.Values(names)) {
		quoted = append(quoted, "'"+name+"'")
	}
	if len(quoted) > maxKnown {
		quoted = append(quoted[:maxKnown], "...")
	}
	return "; known pools: " + strings.Join(quoted, ", ")
}
