package requests

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// DefaultClass is the class of requests that have none.
const DefaultClass = "default"

// Identity identifies a request in lists and logs. It is copied from the request once,
// since handlers may rewrite the request. The path includes the query if the app is set to
// show it; like all of these fields it may hold secrets.
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

// DeterminedClient returns the client's address as Caddy determines it, empty if Caddy has
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
	// Position in the queue, from 1, in the order in which waiters are served; zero if the
	// request does not wait.
	Position int `json:"position,omitempty"`
	// Class is the request's class, DefaultClass in a pool without classes. Key is the key
	// that the request counts for, empty in a pool without keys. Cost is the number of
	// permits that the request takes, if the concurrency allows that many.
	Class string `json:"class"`
	Key   string `json:"key,omitempty"`
	Cost  int    `json:"cost"`
	// Aside: it waits until its key holds fewer permits.
	Aside bool `json:"aside,omitempty"`
	// Held: it waits until the breaker has closed. Lists do not have it.
	Held bool `json:"-"`
	// Client is the client's address as Caddy determines it.
	Client string `json:"client"`
	Method string `json:"method"`
	Host   string `json:"host"`
	// Path includes the query if the app is set to show it.
	Path string `json:"path"`
	// Abandoned: the request holds a permit, and no client receives its answer. Reason is
	// the reason for which it was cancelled, empty if it was not.
	Abandoned bool   `json:"abandoned"`
	Reason    string `json:"reason,omitempty"`
	// Unspooled is the kind because of which the body is passed on as it arrives.
	Unspooled string `json:"unspooled,omitempty"`
	// Budget is the time that the request may use in all, nil for no limit.
	Budget *Budget `json:"budget,omitempty"`
}
