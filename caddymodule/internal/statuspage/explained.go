package statuspage

import (
	"strings"
	"time"

	"github.com/caddy-offload/caddy-offload/caddymodule/internal/admin"
)

// shownExplanations is the number of requests in each list of ended requests.
const shownExplanations = 8

// ended is a request that has ended, with the reason in sentences.
type ended struct {
	At       string `json:"at"`
	Pool     string `json:"pool"`
	Request  string `json:"request"`
	Client   string `json:"client"`
	Decision string `json:"decision"`
	Sentence string `json:"sentence"`
	ID       string `json:"id"`
}

// unserved returns the last requests that were not served as usual, of one pool or of all.
func (m *moment) unserved(pool string) []ended { return endedRequests(m.Explanations, pool) }

// slowest returns the slowest of the served requests that are recorded.
func (m *moment) slowest(pool string) []ended { return endedRequests(m.Slowest, pool) }

func endedRequests(list []admin.Explanation, pool string) []ended {
	all := []ended{}
	for i := range list {
		if e := &list[i]; (pool == "" || e.Pool == pool) && len(all) < shownExplanations {
			all = append(all, endedOf(e))
		}
	}
	return all
}

func endedOf(e *admin.Explanation) ended {
	at := none
	if e.At != nil {
		at = e.At.Local().Format(time.TimeOnly)
	}
	return ended{
		At: at, Pool: e.Pool, Request: e.Method + " " + e.Host + e.Path, Client: e.Client,
		Decision: strings.ReplaceAll(e.Decision, "_", " "), Sentence: quoted(strings.Join(e.Sentences, " ")), ID: e.ID,
	}
}

// quoted replaces the backquotes around settings and fields by quotation marks.
func quoted(sentences string) string {
	closing := false
	return strings.Map(func(r rune) rune {
		if r != '`' {
			return r
		}
		closing = !closing
		if closing {
			return '“'
		}
		return '”'
	}, sentences)
}
