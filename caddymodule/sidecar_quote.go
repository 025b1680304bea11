package caddymodule

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoteAll makes tokens of a Caddyfile out of the values of a flag.
func quoteAll(values []string) (string, error) {
	tokens := make([]string, len(values))
	for i, value := range values {
		token, err := quote(value)
		if err != nil {
			return "", err
		}
		tokens[i] = token
	}
	return strings.Join(tokens, " "), nil
}

// quote makes one token of a Caddyfile out of a flag's value, so that it is read as
// it was written. A Caddyfile has four ways to write a token, and none for all values:
// only backquotes take everything but themselves.
func quote(value string) (string, error) {
	switch {
	case !utf8.ValidString(value):
		return "", fmt.Errorf("a Caddyfile cannot have %s: it is not UTF-8", strconv.Quote(value))
	case isPlain(value):
		return value, nil
	case !strings.Contains(value, "`"):
		return "`" + withoutEnvironment(value) + "`", nil
	case !endsOnBackslash(value):
		return `"` + withoutEnvironment(strings.ReplaceAll(value, `"`, `\"`)) + `"`, nil
	case !strings.Contains(value, "\r"):
		return heredoc(value), nil
	default:
		return "", fmt.Errorf("a Caddyfile cannot have %s: it mixes backquotes, quotes behind backslashes and carriage returns", strconv.Quote(value))
	}
}

// isPlain reports whether a value needs no quotes: it has no letter that means
// something somewhere in a token, or that no font shows.
func isPlain(value string) bool {
	for _, r := range value {
		if r <= ' ' || r > '~' || strings.ContainsRune("\"`{}#\\<", r) {
			return false
		}
	}
	return value != ""
}

// endsOnBackslash reports whether a quote of the value, or the end of it, stands
// behind an odd number of backslashes. In double quotes a backslash is itself, also
// behind another one, unless a quote follows: these cannot be written there.
func endsOnBackslash(value string) bool {
	for part := range strings.SplitSeq(value, `"`) {
		if (len(part)-len(strings.TrimRight(part, `\`)))%2 == 1 {
			return true
		}
	}
	return false
}

// heredoc writes lines between markers that are not in them.
func heredoc(value string) string {
	marker := "END"
	for strings.Contains(value, marker) {
		marker += "D"
	}
	return "<<" + marker + "\n" + withoutEnvironment(value) + "\n" + marker
}

// withoutEnvironment keeps what looks like a variable of the environment from being
// replaced, wherever it is quoted. The variable without a name is never set, and has
// the opening as its default.
func withoutEnvironment(value string) string {
	return strings.ReplaceAll(value, "{$", "{$:{$}")
}
