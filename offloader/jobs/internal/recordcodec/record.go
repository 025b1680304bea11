// Package recordcodec turns records of jobs into bytes and back. The form is compact: engines
// write a record three times in the life of a job and read all open ones when they start, and
// JSON takes four to eight times as long. Fields can be added under new tags.
package recordcodec

import "github.com/caddy-offload/caddy-offload/offloader/jobs"

// Append appends a record without its ID and Rev, which engines store next to it.
func Append(b []byte, r *jobs.Record) []byte {
	c := coder{buf: b}
	record(&c, r)
	return c.buf
}

// Decode reads a record. ID and Rev are zero.
func Decode(b []byte) (*jobs.Record, error) {
	var r jobs.Record
	var c coder
	decodeInto(&c, b, &r, record)
	if c.err != nil {
		return nil, c.err
	}
	return &r, nil
}

// The tags of a field never change, and fields stand in the order of their tags.

func record(c *coder, r *jobs.Record) {
	text(c, 1, &r.Route)
	text(c, 2, &r.Tenant)
	c.hash(3, &r.Owner)
	optional(c, 4, &r.Key, key)
	message(c, 5, &r.Request, request)
	number(c, 6, &r.BodySize)
	message(c, 7, &r.Policy, policy)
	c.flag(8, &r.Repeatable)
	c.moment(9, &r.Created)
	number(c, 10, &r.State)
	c.moment(11, &r.NotBefore)
	number(c, 12, &r.Generation)
	number(c, 13, &r.Attempt)
	number(c, 14, &r.Uncounted)
	number(c, 15, &r.Crashes)
	list(c, 16, &r.Attempts, attempt)
	optional(c, 17, &r.Cancel, cancel)
	optional(c, 18, &r.Response, response)
	text(c, 19, &r.Reason)
	c.moment(20, &r.Ended)
	c.moment(21, &r.KeepUntil)
	optional(c, 22, &r.Hook, hook)
	text(c, 23, &r.Trace)
	c.moment(24, &r.Begun)
}

func request(c *coder, r *jobs.Request) {
	text(c, 1, &r.Method)
	text(c, 2, &r.URI)
	text(c, 3, &r.Host)
	text(c, 4, &r.Scheme)
	text(c, 5, &r.Remote)
	list(c, 6, &r.Header, field)
}

func field(c *coder, f *jobs.Field) {
	text(c, 1, &f.Name)
	text(c, 2, &f.Value)
}

func response(c *coder, r *jobs.Response) {
	number(c, 1, &r.Status)
	list(c, 2, &r.Header, field)
	number(c, 3, &r.Size)
	c.flag(4, &r.Complete)
	c.hash(5, &r.SHA256)
	list(c, 6, &r.Trailer, field)
}

func key(c *coder, k *jobs.Key) {
	c.hash(1, &k.Hash)
	c.hash(2, &k.Fingerprint)
	c.moment(3, &k.Until)
}

func policy(c *coder, p *jobs.Policy) {
	number(c, 1, &p.MaxAttempts)
	number(c, 2, &p.AttemptTimeout)
	number(c, 3, &p.QueueTime)
	number(c, 4, &p.TotalTime)
	number(c, 5, &p.MinBackoff)
	number(c, 6, &p.MaxBackoff)
	number(c, 7, &p.Keep)
	number(c, 8, &p.KeepDead)
	number(c, 9, &p.MaxResult)
}

func attempt(c *coder, a *jobs.AttemptRecord) {
	number(c, 1, &a.Generation)
	number(c, 2, &a.Number)
	c.moment(3, &a.Began)
	c.moment(4, &a.Ended)
	text(c, 5, &a.Class)
	text(c, 6, &a.Reason)
	number(c, 7, &a.Status)
	number(c, 8, &a.Bytes)
}

func cancel(c *coder, r *jobs.Cancel) {
	c.moment(1, &r.At)
	text(c, 2, &r.By)
}

func hook(c *coder, h *jobs.Hook) {
	text(c, 1, &h.URL)
	text(c, 2, &h.Secret)
	c.flag(3, &h.WithResult)
	text(c, 4, &h.State)
	number(c, 5, &h.Tries)
	c.moment(6, &h.Next)
	text(c, 7, &h.Error)
}
