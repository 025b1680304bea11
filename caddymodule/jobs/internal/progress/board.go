package progress

import (
	"crypto/rand"
	"crypto/subtle"
	"net/url"
	"sync"

	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// Board has the attempts that run in this process, for reports that come in requests. Each
// attempt has a token, which the URL for its reports holds and which ends with the attempt. So
// neither an earlier attempt of a job, nor its client, can report about it. The zero value is
// ready.
type Board struct {
	mu   sync.Mutex
	runs map[jobs.ID]entry // guarded by mu
}

type entry struct {
	token  string
	report func(jobs.Progress)
}

// Add adds an attempt until remove is called. An earlier one of the same job has no place
// from now on.
func (b *Board) Add(id jobs.ID, report func(jobs.Progress)) (token string, remove func()) {
	token = rand.Text()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.runs == nil {
		b.runs = make(map[jobs.ID]entry)
	}
	b.runs[id] = entry{token, report}
	return token, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.runs[id].token == token {
			delete(b.runs, id)
		}
	}
}

// Report passes a report on. It returns false if there is no attempt of this job with this
// token.
func (b *Board) Report(id jobs.ID, token string, p jobs.Progress) bool {
	b.mu.Lock()
	run, ok := b.runs[id]
	b.mu.Unlock()
	if !ok || subtle.ConstantTimeCompare([]byte(run.token), []byte(token)) == 0 {
		return false
	}
	run.report(p)
	return true
}

// URL returns the URL for the reports of an attempt. base is the URL of all jobs, with a slash
// at its end.
func URL(base string, id jobs.ID, token string) string {
	return base + id.String() + "/progress?" + url.Values{"token": {token}}.Encode()
}
