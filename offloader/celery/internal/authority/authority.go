// Package authority looks at the part of a URL that holds the password, before the URL
// is read. It is shared by the clients of all servers.
package authority

import (
	"errors"
	"strings"
)

// errSplit does not show the URL: a part of the password is where it ends.
var errSplit = errors.New("the URL has an '@' after its path has begun: " +
	"in a password write %2F for '/', %3F for '?', %23 for '#', %3B for ';', and elsewhere %40 for '@'")

// Check refuses URLs, separated by semicolons, whose authority ends inside a password
// that is not escaped. What follows would be read as a path, a query or another URL,
// and then shown in an error or sent to another server. Paths of sockets may hold an
// '@', since such URLs have no authority.
func Check(urls string) error {
	_, rest, ok := strings.Cut(urls, "://")
	if !ok || strings.HasPrefix(rest, "/") {
		return nil
	}
	for part := range strings.SplitSeq(urls, ";") {
		_, rest, ok := strings.Cut(part, "://")
		if !ok {
			rest = "/" + part // no URL: what a semicolon has cut off
		}
		if end := strings.IndexAny(rest, "/?#"); end >= 0 && strings.Contains(rest[end:], "@") {
			return errSplit
		}
	}
	return nil
}
