package sidecar

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoteAll returns the values of a flag as tokens of a Caddyfile.
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

// quote returns a flag's value as one token of a Caddyfile, which Caddy reads as the same
// value. None of the four forms of tokens fits all values: only backquotes allow everything
// except themselves.
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
		return "", fmt.Errorf("a Caddyfile cannot have %s: it mixes backquotes, quotes after backslashes and carriage returns", strconv.Quote(value))
	}
}

// isPlain reports whether a value needs no quotes: it has printable ASCII only, and no
// letter with a meaning in a token.
func isPlain(value string) bool {
	for _, r := range value {
		if r <= ' ' || r > '~' || strings.ContainsRune("\"`{}#\\<", r) {
			return false
		}
	}
	return value != ""
}

// endsOnBackslash reports whether a quote in the value, or its end, follows an odd number
// of backslashes. In double quotes a backslash is literal unless a quote follows, so such
// a value cannot be written there.
func endsOnBackslash(value string) bool {
	for part := range strings.SplitSeq(value, `"`) {
		if (len(part)-len(strings.TrimRight(part, `\`)))%2 == 1 {
			return true
		}
	}
	return false
}

// heredoc returns the lines between two markers that they do not contain.
func heredoc(value string) string {
	marker := "END"
	for strings.Contains(value, marker) {
		marker += "D"
	}
	return "<<" + marker + "\n" + withoutEnvironment(value) + "\n" + marker
}

// withoutEnvironment escapes text that looks like a variable of the environment, which
// Caddy replaces in quotes too. The variable without a name is never set, and its default
// is the opening brace and dollar.
func withoutEnvironment(value string) string {
	return strings.ReplaceAll(value, "{$", "{$:{$}")
}

// block returns a block with these lines, or nothing if there are none.
func block(head string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	all := []string{strings.TrimLeft(head+" {", " ")}
	for _, line := range lines {
		all = append(all, "\t"+line)
	}
	return append(all, "}")
}
