package settings

import "github.com/caddy-offload/caddy-offload/offloader"

// Overridable has the settings that an override can replace.
var Overridable = func() (t Table) {
	for _, s := range Pool {
		if s.override.set != nil {
			t = append(t, s)
		}
	}
	return t
}()

// Override sets a value, in the form of a Caddyfile, in an override.
func (t Table) Override(o *offloader.Override, name, text string) error {
	s, err := t.find(name)
	if err != nil {
		return err
	}
	return s.override.set(o, text)
}

// Reset removes a setting from an override.
func (t Table) Reset(o *offloader.Override, name string) error {
	s, err := t.find(name)
	if err != nil {
		return err
	}
	s.override.reset(o)
	return nil
}

// Overridden returns the configured values of the settings that are overridden. It
// returns nil if there are none.
func (t Table) Overridden(o offloader.Override, configured offloader.Settings) map[string]string {
	var all map[string]string
	for _, s := range t {
		if s.override.present(&o) {
			if all == nil {
				all = make(map[string]string)
			}
			all[s.Name] = s.text(&configured)
		}
	}
	return all
}
