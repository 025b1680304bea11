package caddymodule

import (
	"reflect"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// siteAddress returns the first address of the site block of a directive, or the head of
// its named route, or "site" if both are unknown. Caddy's Helper has it in an unexported
// field only, which is read and never changed; a test fails when a new version of Caddy
// moves it.
func siteAddress(h httpcaddyfile.Helper) string {
	block := reflect.ValueOf(h).FieldByName("parentBlock")
	if !block.IsValid() {
		return "site"
	}
	keys := block.FieldByName("Keys")
	if !keys.IsValid() || keys.Kind() != reflect.Slice || keys.Len() == 0 {
		return "site"
	}
	text := keys.Index(0).FieldByName("Text")
	if !text.IsValid() || text.Kind() != reflect.String {
		return "site"
	}
	if h.IsNamedRoute() {
		return "&(" + text.String() + ")"
	}
	return text.String()
}
