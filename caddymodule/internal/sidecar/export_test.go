package sidecar

import (
	"bytes"
	"errors"
	"strings"
)

// Caddyfile returns the Caddyfile that flags stand for, and the address to listen on.
func Caddyfile(args ...string) (text, address string, err error) {
	s := newSidecar()
	cmd := s.command()
	var rejected bytes.Buffer
	cmd.SetErr(&rejected)
	if err := cmd.ParseFlags(args); err != nil {
		_ = cmd.FlagErrorFunc()(cmd, err) // prints it
		return "", "", errors.New(strings.TrimPrefix(rejected.String(), "Error: "))
	}
	if err := s.check(); err != nil {
		return "", "", err
	}
	written, err := s.caddyfile()
	if err != nil {
		return "", "", err
	}
	from, err := parseFrom(s.from)
	return string(written), from.String(), err
}
