package sidecar

import (
	"cmp"
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// place matches the position of an error in the generated Caddyfile.
var place = regexp.MustCompile(`(?:, at )?\bflags:([0-9]+)(?: - Error during parsing)?(?:: )?`)

// directive matches the beginning of Caddy's errors about directives and global options.
var directive = regexp.MustCompile(`^(?:parsing caddyfile tokens for '([a-z_]+)': )+`)

// inFlags converts an error about the generated Caddyfile into one about the flags, which
// the user has written.
func (s *sidecar) inFlags(text string, err error) error {
	message := err.Error()
	flag := ""
	if found := place.FindStringSubmatch(message); found != nil {
		line, _ := strconv.Atoi(found[1]) // of digits only
		flag = s.flagAt(strings.Split(text, "\n"), line)
		message = strings.TrimSpace(place.ReplaceAllString(message, ""))
	}
	if found := directive.FindStringSubmatch(message); found != nil {
		message = strings.TrimPrefix(message, found[0])
		flag = cmp.Or(flag, flagOf[found[1]])
	}
	message = strings.ReplaceAll(message, "'breaker off'", "'--breaker off'")
	for i := range s.options {
		o := &s.options[i]
		message = o.inFlags(message, "--"+o.flag() == flag)
	}
	if flag == "" || strings.Contains(message, flag+" ") || strings.Contains(message, flag+"'") {
		return errors.New(message)
	}
	return errors.New(flag + ": " + message)
}

// inFlags replaces the name of the option in a message by that of its flag. A name that is
// also an ordinary noun is replaced only if the message is about the option.
func (o *option) inFlags(message string, isAbout bool) string {
	if o.of == inBreaker {
		message = strings.ReplaceAll(message, "breaker "+o.name, "--"+o.flag())
	}
	if !isAbout && !strings.Contains(o.name, "_") {
		return message
	}
	name := regexp.MustCompile(`(^|[ '])` + o.name + `($|[ ':,])`)
	return name.ReplaceAllString(message, "${1}--"+o.flag()+"${2}")
}

// flagOf maps the first word of a line that is no option of offload to its flag.
var flagOf = map[string]string{
	"admin": "--admin", "grace_period": "--grace", "shutdown_delay": "--shutdown-delay", "bind": "--from", "http://": "--from", "https://": "--from",
	"offload_ready": "--ready", "offload_jobs": "--jobs", "reverse_proxy": "--to", "php_fastcgi": "--to", "root": "--root", "keepalive": "--keepalive",
	"@blocking": "--match", "path": "--match", "handle_reject": "--handle-reject",
}

// flagAt returns the flag that a line of the Caddyfile comes from, or that of the closest
// line above: a value may have several lines.
func (s *sidecar) flagAt(lines []string, number int) string {
	for i := min(number, len(lines)) - 1; i >= 0; i-- {
		first, _, _ := strings.Cut(strings.TrimSpace(lines[i]), " ")
		for j := range s.options {
			if o := &s.options[j]; o.value != "" && o.name == first {
				return "--" + o.flag()
			}
		}
		if flag, ok := flagOf[first]; ok || first == inBreaker { // the flags of a breaker together
			return flag
		}
	}
	return ""
}
