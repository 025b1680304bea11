package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Config is the webhook of a route: where its messages may go, and how they are signed.
type Config struct {
	// The endpoint of all jobs. Either this or `from_header` is set.
	URL string `json:"url,omitempty"`

	// The request header by which a client names the endpoint of its job. A job without
	// this header has no webhook.
	FromHeader string `json:"from_header,omitempty"`

	// The hosts that clients may name: a host, `*.example.com` for all hosts below
	// `example.com`, or `*` for all hosts with a public address. Required with
	// `from_header`.
	AllowHost []string `json:"allow_host,omitempty"`

	// The ports of endpoints. Default: 443, with `allow_http` 80 as well.
	AllowPort []int `json:"allow_port,omitempty"`

	// Networks of private or local addresses that messages may be sent to, such as
	// `10.1.0.0/16`. Default: none.
	AllowPrivate []string `json:"allow_private,omitempty"`

	// Allows http:// as well as https://.
	AllowHTTP bool `json:"allow_http,omitempty"`

	// The secrets that sign messages. The first one signs the messages of new jobs. Others
	// are for jobs that were accepted under their names.
	Secrets []Secret `json:"secrets,omitempty"`

	// Sends results of up to 16 KiB with the message.
	WithResult bool `json:"with_result,omitempty"`
}

// Secret is the source of one or two keys, divided by white space. Messages are signed with
// all of them, so that an endpoint can change from one key to the other.
type Secret struct {
	// The name that jobs are stored with.
	Name string `json:"name"`
	// The environment variable with the keys. Either this or `file` is set.
	Env string `json:"env,omitempty"`
	// The file with the keys. It is read for each message.
	File string `json:"file,omitempty"`
}

// Validate returns an error that says which option is wrong. It reads no secret.
func (c *Config) Validate() error {
	rules, err := c.rules()
	if err != nil {
		return err
	}
	switch {
	case (c.URL == "") == (c.FromHeader == ""):
		return errors.New("want either 'url' or 'from_header'")
	case c.FromHeader != "" && len(c.AllowHost) == 0:
		return errors.New("'from_header' lets clients choose an endpoint: name the hosts that they may choose with 'allow_host'")
	case c.URL != "" && len(c.AllowHost) > 0:
		return errors.New("'allow_host' is for 'from_header'")
	case len(c.Secrets) == 0:
		return errors.New("messages are signed: add a line such as 'secret main env WEBHOOK_SECRET'")
	}
	if c.URL != "" {
		if _, err := rules.check(c.URL); err != nil {
			return fmt.Errorf("bad url '%s': %w", c.URL, err)
		}
	}
	return c.checkSecrets()
}

func (c *Config) checkSecrets() error {
	var names []string
	for _, s := range c.Secrets {
		switch {
		case s.Name == "":
			return errors.New("a secret needs a name")
		case slices.Contains(names, s.Name):
			return fmt.Errorf("the secret '%s' is set twice", s.Name)
		case (s.Env == "") == (s.File == ""):
			return fmt.Errorf("the secret '%s': want either 'env' or 'file'", s.Name)
		}
		names = append(names, s.Name)
	}
	return nil
}

// rules returns the options as rules for URLs and addresses.
func (c *Config) rules() (*rules, error) {
	r := &rules{hosts: c.AllowHost, anyHost: c.URL != "", ports: c.AllowPort, http: c.AllowHTTP}
	for _, pattern := range c.AllowHost {
		if err := checkPattern(pattern); err != nil {
			return nil, err
		}
	}
	if len(r.ports) == 0 {
		r.ports = []int{443}
		if c.AllowHTTP {
			r.ports = append(r.ports, 80)
		}
	}
	for _, port := range r.ports {
		if port < 1 || port > 65535 {
			return nil, fmt.Errorf("bad allow_port value '%d': want a number from 1 to 65535", port)
		}
	}
	for _, text := range c.AllowPrivate {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix != prefix.Masked() || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("bad allow_private value '%s': want a network such as 10.1.0.0/16", text)
		}
		r.guard.allowed = append(r.guard.allowed, prefix)
	}
	return r, nil
}
