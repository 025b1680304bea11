package owner

import (
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// of returns the hash for a request with fields and perhaps a user.
func of(t *testing.T, rule Rule, user string, fields ...string) [32]byte {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	repl := caddy.NewReplacer()
	if user != "" {
		repl.Set("http.auth.user.id", user)
	}
	return rule.Of(caddyhttp.PrepareRequest(r, repl, w, nil))
}

func TestOwners(t *testing.T) {
	t.Parallel()
	var rule Rule
	ann := of(t, rule, "ann")
	if ann == of(t, rule, "bob") || ann != of(t, rule, "ann", "Authorization", "Basic x") {
		t.Error("the user does not decide")
	}
	token := of(t, rule, "", "Authorization", "Bearer ann")
	if token == ([32]byte{}) || token == of(t, rule, "", "Authorization", "Bearer bob") || token == of(t, rule, "Bearer ann") {
		t.Error("the field Authorization does not decide")
	}
	if of(t, rule, "") != ([32]byte{}) {
		t.Error("an owner without an identity")
	}
	own := New("{http.request.header.X-User}")
	if of(t, own, "", "X-User", "ann") == of(t, own, "", "X-User", "bob") || of(t, own, "ann", "Authorization", "Bearer ann") != ([32]byte{}) {
		t.Error("the placeholder does not decide")
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	ann, bob, none := hash("user", "ann"), hash("user", "bob"), [32]byte{}
	if !May(ann, ann) || !May(ann, none) || !May(none, none) || May(bob, ann) || May(none, ann) {
		t.Error("wrong access")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if Check("") != nil || Check("{client_ip}") != nil || Check("ann") == nil || Check("{http.request.body}") == nil {
		t.Error("wrong checks")
	}
}
