package balance

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/caddyfileblock"
	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// UnmarshalCaddyfile reads
//
//	lb_policy offload {
//		weight   <address> <n>
//		affinity <policy> [<options>...] [max_wait <duration>]
//		max_wait <duration>
//	}
func (p *Policy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // name
	if d.NextArg() {
		return d.Errf("unexpected '%s': the policy 'offload' takes a block only", d.Val())
	}
	b := caddyfileblock.New(d, "weight")
	return b.Each(0, func() error {
		switch b.Option {
		case "weight":
			return p.parseWeight(b)
		case "affinity":
			return p.parseAffinity(b)
		case "max_wait":
			text, err := b.Text()
			if err != nil {
				return err
			}
			return p.setMaxWait(d, text)
		}
		return d.Errf("unrecognized subdirective '%s' of 'lb_policy offload': want weight, affinity or max_wait", b.Option)
	})
}

func (p *Policy) parseWeight(b *caddyfileblock.Block) error {
	var address, number string
	if !b.D.AllArgs(&address, &number) {
		return b.At.Err("wrong argument count: 'weight' takes an address and a number")
	}
	weight, err := optionvalue.ParseCount("weight", number, optionvalue.Counts{Least: 1, Most: offloader.MaxWeight})
	if err != nil {
		return b.At.WrapErr(err)
	}
	if _, ok := p.Weights[address]; ok {
		return b.At.Errf("the weight of '%s' is set twice", address)
	}
	if p.Weights == nil {
		p.Weights = make(map[string]int)
	}
	p.Weights[address] = weight
	return nil
}

// parseAffinity reads a selection policy of Caddy, and behind its arguments a max_wait.
func (p *Policy) parseAffinity(b *caddyfileblock.Block) error {
	if !b.D.NextArg() {
		return b.At.Err("wrong argument count: 'affinity' takes a selection policy, such as cookie")
	}
	policy, text := splitMaxWait(b.D.NextSegment())
	if text != "" {
		if err := p.setMaxWait(&b.At, text); err != nil {
			return err
		}
	}
	d := caddyfile.NewDispenser(policy)
	d.Next()
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "http.reverse_proxy.selection_policies."+name)
	if err != nil {
		return err
	}
	selector, ok := module.(reverseproxy.Selector)
	if _, same := module.(*Policy); !ok || same {
		return b.At.Errf("bad affinity value '%s': want another selection policy, such as cookie", name)
	}
	p.AffinityRaw = caddyconfig.JSONModuleObject(selector, "policy", name, nil)
	return nil
}

// splitMaxWait takes the words max_wait and a duration from the end of the first line, empty
// without them.
func splitMaxWait(tokens caddyfile.Segment) (policy []caddyfile.Token, maxWait string) {
	for i := 1; i+1 < len(tokens) && tokens[i].Line == tokens[0].Line; i++ {
		ends := i+2 == len(tokens) || tokens[i+2].Text == "{" || tokens[i+2].Line != tokens[0].Line
		if tokens[i].Text == "max_wait" && ends {
			return append(tokens[:i:i], tokens[i+2:]...), tokens[i+1].Text
		}
	}
	return tokens, ""
}

func (p *Policy) setMaxWait(d *caddyfile.Dispenser, text string) error {
	if p.MaxWait != nil {
		return d.Err("'max_wait' is set twice")
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return d.Errf("bad max_wait value '%s': want a duration such as 1s, or 0", text)
	}
	p.MaxWait = new(caddy.Duration(wait))
	return nil
}

var _ caddyfile.Unmarshaler = (*Policy)(nil)
