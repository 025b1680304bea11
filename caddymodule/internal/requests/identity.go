package requests

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// DefaultClass is the class of requests that have none.
const DefaultClass = "default"

// Identity is what a request is known by. It is taken from the request once,
// since handlers may rewrite that. The path has the query if that shall be shown;
// like all else it may hold secrets.
type Identity struct {
	ID                         ID
	Came                       time.Time
	Method, Host, Path, Client string
}

// IdentityOf describes a request that came at that time. The path includes the query if
// showQuery is set.
func IdentityOf(r *http.Request, came time.Time, showQuery bool) Identity {
	who := Identity{ID: NewID(), Came: came, Method: r.Method, Host: r.Host, Path: r.URL.Path}
	if showQuery && r.URL.RawQuery != "" {
		who.Path += "?" + r.URL.RawQuery
	}
	who.Client = DeterminedClient(r)
	return who
}

// DeterminedClient returns the client's address as Caddy determines it, empty if it has
// not.
func DeterminedClient(r *http.Request) string {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return client
}

// View is one request in a pool, as the admin endpoint shows it.
type View struct {
	ID   string `json:"id"`
	Pool string `json:"pool"`
	// Phase is uploading, waiting, running, streaming or upgraded.
	Phase Phase `json:"phase"`
	// Age is how long ago it came, InPhase how long ago its phase began.
	Age     time.Duration `json:"age_ns"`
	InPhase time.Duration `json:"in_phase_ns"`
	// Position in the queue, from 1, in the order in which waiters are served;
	// zero if it does not wait.
	Position int    `json:"position,omitempty"`
	Class    string `json:"class"`
	// Client is the client's address as Caddy determines it.
	Client string `json:"client"`
	Method string `json:"method"`
	Host   string `json:"host"`
	// Path has the query with it where the app shows it.
	Path string `json:"path"`
	// Abandoned: it holds a permit, and no client receives its answer. Reason is why, if
	// it was cancelled.
	Abandoned bool   `json:"abandoned"`
	Reason    string `json:"reason,omitempty"`
	// Unspooled is the kind for which its body is passed on as it comes.
	Unspooled string `json:"unspooled,omitempty"`
}
