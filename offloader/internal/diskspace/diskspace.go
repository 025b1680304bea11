// Package diskspace returns how much room a file system has.
package diskspace

import (
	"errors"
	"strings"
)

// Space is the room of a file system in bytes.
type Space struct {
	Free  int64 // for this user
	Total int64
}

// Full reports whether an error says that a file system, a quota or a limit of files leaves
// no room. Some libraries hand on the text of an error alone.
func Full(err error) bool {
	for _, e := range fullErrors {
		if errors.Is(err, e) || err != nil && strings.Contains(err.Error(), e.Error()) {
			return true
		}
	}
	return false
}
