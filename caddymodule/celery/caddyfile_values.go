package celery

import (
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// option parses one of serverOptions.
func (s *Servers) option(b *caddyfileblock.Block) (err error) {
	switch b.Option {
	case "broker":
		s.Broker, err = b.Name()
	case "backend":
		s.Backend, err = b.Name()
	case "broker_prefix":
		s.BrokerPrefix, err = b.Name()
	case "result_prefix":
		s.ResultPrefix, err = b.Name()
	case "control_exchange":
		s.ControlExchange, err = b.Name()
	case "master_name":
		s.MasterName, err = b.Name()
	case "sentinel_password":
		s.SentinelPassword, err = b.Name()
	case "tls":
		s.TLS, err = parseTLS(b)
	case "connections":
		s.Connections, err = b.Count(optionvalue.Counts{Least: 1, Most: optionvalue.MaxCount})
	case "server_timeout":
		s.ServerTimeout, err = b.Duration(false)
	case "reconnect_timeout":
		s.ReconnectTimeout, err = b.Duration(false)
	case "max_result":
		s.MaxResult, err = b.Size(false)
	case "poll":
		s.Poll, err = true, b.Flag()
	}
	return err
}

// parseTLS parses
//
//	tls {
//		trusted_ca           <file>...
//		client_certificate   <certificate> <key>
//		server_name          <name>
//		insecure_skip_verify
//	}
func parseTLS(outer *caddyfileblock.Block) (*TLS, error) {
	if err := outer.Flag(); err != nil {
		return nil, err
	}
	t := new(TLS)
	b := caddyfileblock.New(outer.D)
	err := b.Each(outer.D.Nesting(), func() (err error) {
		switch b.Option {
		case "trusted_ca":
			t.TrustedCA, err = b.Texts()
		case "client_certificate":
			if !b.D.AllArgs(&t.Certificate, &t.Key) {
				err = b.At.Errf("wrong argument count: '%s' takes two files", b.Option)
			}
		case "server_name":
			t.ServerName, err = b.Name()
		case "insecure_skip_verify":
			t.InsecureSkipVerify, err = true, b.Flag()
		default:
			err = b.D.Errf("unrecognized subdirective '%s' of tls", b.Option)
		}
		return err
	})
	if err == nil && b.Option == "" {
		err = outer.At.Err("an empty 'tls': leave it out for the defaults")
	}
	return t, err
}

// parseTimeLimit parses one or two durations, or "off".
func parseTimeLimit(b *caddyfileblock.Block) (*TimeLimit, error) {
	texts := b.D.RemainingArgs()
	t := new(TimeLimit)
	switch {
	case len(texts) == 0 || len(texts) > 2:
		return nil, b.At.Errf("wrong argument count: '%s' takes a hard limit and perhaps a soft one, or 'off' alone", b.Option)
	case len(texts) == 1 && texts[0] == "off":
		t.Off = true
		return t, nil
	}
	var err error
	if t.Hard, err = limit(b, texts[0], len(texts) == 1); err != nil || len(texts) == 1 {
		return t, err
	}
	if t.Soft, err = limit(b, texts[1], false); err == nil && t.Soft > t.Hard {
		err = b.At.Errf("bad %s: the soft limit %s is above the hard one", b.Option, texts[1])
	}
	return t, err
}

func limit(b *caddyfileblock.Block, text string, mayBeOff bool) (caddy.Duration, error) {
	t, err := optionvalue.ParseDuration(b.Option, text, mayBeOff)
	if err != nil {
		return 0, b.D.WrapErr(err)
	}
	return t, nil
}

// maxBody parses a size up to that of a message.
func maxBody(b *caddyfileblock.Block) (int64, error) {
	n, err := b.Size(false)
	if err == nil && n > largestBody {
		return 0, b.D.Errf("bad %s value '%s': want at most 16MiB", b.Option, b.D.Val())
	}
	return n, err
}

// parseOutstanding parses a number, a multiple of the workers' concurrency such as "4x",
// or "off".
func parseOutstanding(b *caddyfileblock.Block) (*Outstanding, error) {
	text, err := b.Text()
	if err != nil || text == "off" {
		return nil, err
	}
	digits, perSlot := strings.CutSuffix(text, "x")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > optionvalue.MaxCount {
		return nil, b.D.Errf("bad %s value '%s': want a number such as 100, a number for each slot such as 4x, or 'off'", b.Option, text)
	}
	if perSlot {
		return &Outstanding{PerSlot: n}, nil
	}
	return &Outstanding{Count: n}, nil
}
