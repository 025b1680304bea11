// Package authority checks the part of a URL that holds the password, before the URL is
// parsed. The clients of all servers share it.
package authority

import (
	"errors"
	"strings"
)

// errSplit does not show the URL, since it would show a part of the password.
var errSplit = errors.New("the URL has an '@' after its path has begun: " +
	"in a password write %2F for '/', %3F for '?', %23 for '#', %3B for ';', and elsewhere %40 for '@'")

// Check rejects URLs, separated by semicolons, whose authority ends inside an unescaped
// password. The rest of the password would be parsed as a path, a query or another URL, and
// then shown in an error or sent to another server. Paths of sockets may contain an '@', since
// such URLs have no authority.
func Check(urls string) error {
	_, rest, ok := strings.Cut(urls, "://")
	if !ok || strings.HasPrefix(rest, "/") {
		return nil
	}
	for part := range strings.SplitSeq(urls, ";") {
		_, rest, ok := strings.Cut(part, "://")
		if !ok {
			rest = "/" + part // the rest of a URL after a semicolon
		}
		if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.Contains(rest[end:], "@") {
			return errSplit
		}
	}
	return nil
}
