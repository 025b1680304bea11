package sidecar

// Caddyfile returns the Caddyfile that flags stand for, and the address to listen on.
func Caddyfile(args ...string) (text, address string, err error) {
	s := newSidecar()
	cmd := s.command()
	if err := cmd.ParseFlags(args); err != nil {
		return "", "", cmd.FlagErrorFunc()(cmd, err)
	}
	written, err := s.caddyfile()
	if err != nil {
		return "", "", err
	}
	from, err := parseFrom(s.from)
	return string(written), from.String(), err
}
