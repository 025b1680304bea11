// Package owner determines which clients may use a job: those with the identity of the
// client that has submitted it. Only hashes of identities are stored.
package owner

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/optionvalue"
)

// Rule is where the identity of a client comes from. The zero value is the default: the
// user that an authentication handler has set, else the field Authorization, else none.
type Rule struct{ text string }

// New returns a rule with a text that has placeholders. An empty text is the default.
func New(text string) Rule { return Rule{text: text} }

// Check returns an error if the text of a rule is bad.
func Check(text string) error {
	if text == "" {
		return nil
	}
	return optionvalue.CheckPlaceholder("owner", text)
}

// user is the identity that Caddy's authentication handlers set.
const user = "{http.auth.user.id}"

// Of returns the hash of the identity of the client of a request. It is zero if the client
// has none: then a job can be used by any client that has its URL.
func (rule Rule) Of(r *http.Request) [32]byte {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return [32]byte{}
	}
	text, kind := rule.text, "owner"
	if text == "" {
		text, kind = user, "user"
	}
	if identity := repl.ReplaceAll(text, ""); identity != "" {
		return hash(kind, identity)
	}
	if authorization := r.Header.Get("Authorization"); rule.text == "" && authorization != "" {
		return hash("authorization", authorization)
	}
	return [32]byte{}
}

// hash covers the kind of the identity, so that no client can choose the identity of a user
// by sending it in another place.
func hash(kind, identity string) [32]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s %s", kind, identity))
}

// May reports whether a client with one hash may use a job with the other one. Its time
// does not depend on them.
func May(client, job [32]byte) bool {
	var none [32]byte
	return subtle.ConstantTimeCompare(client[:], job[:])|subtle.ConstantTimeCompare(none[:], job[:]) == 1
}
