//go:build !unix

package load

import (
	"errors"
	"syscall"
)

// likeEthernet returns an error: the test would prove nothing without it.
func likeEthernet(string, string, syscall.RawConn) error {
	return errors.New("slow clients need socket options that only Unix has")
}
