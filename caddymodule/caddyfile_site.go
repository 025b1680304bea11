package caddymodule

import (
	"reflect"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// siteAddress returns the first address of the site block that a directive
// stands in, or the head of its named route, or a word for it if that cannot be
// told. Caddy's Helper has it only in an unexported field; it is read, never
// changed, and a test notices when a new version of Caddy moves it.
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
