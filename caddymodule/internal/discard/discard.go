// Package discard reads the rest of an upload and drops it after the request was answered,
// as the lingering close of other servers does. Many clients read no answer before they
// have sent everything, and lose an answer whose connection or stream is reset meanwhile.
//
// On HTTP/1 the rest is read from the connection, after the server has closed its own
// direction; on HTTP/2 and 3 from the stream, before the stream is reset. The bytes and the
// time of each upload are bounded, and the number and the bytes a second of all uploads.
// The rest of an upload beyond the bounds is left to the server.
package discard

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of the reading after an answer.
type Bounds struct {
	Uploads int           // that are read at once
	Rate    int           // bytes a second, of all together
	Size    int64         // bytes of one
	Time    time.Duration // for one
	HTTP2   time.Duration // the same on HTTP/2, where the end of the answer waits for it
	First   time.Duration // in which something of one must come
	Idle    time.Duration // in which more of it must come after that
}

// DefaultBounds are enough for an upload of 8 MB over a line of 13 Mbit/s. All uploads
// together take at most 4 MiB of memory, and as many bytes as a line of 1 Gbit/s has.
func DefaultBounds() Bounds {
	return Bounds{
		Uploads: 256,
		Rate:    128 << 20,
		Size:    32 << 20,
		Time:    5 * time.Second,
		HTTP2:   2 * time.Second,
		First:   500 * time.Millisecond,
		Idle:    2 * time.Second,
	}
}

// bufferSize is the memory that one upload takes.
const bufferSize = 16 << 10

// End is how the reading of an upload ended.
type End uint8

const (
	// Complete is an upload that its client has ended.
	Complete End = iota
	// TooLarge is an upload with more bytes than are read.
	TooLarge
	// TooLong is an upload that took too long, or paused.
	TooLong
	// TooMany is an upload that was not read at all, because of the number of others.
	TooMany

	ends = iota
)

// Ends are all of them.
func Ends() []End { return []End{Complete, TooLarge, TooLong, TooMany} }

func (e End) String() string {
	return [ends]string{"complete", "size", "time", "number"}[e]
}

// Discarder discards uploads within its bounds. It may be used on any goroutine.
type Discarder struct {
	bounds  Bounds
	rate    *rate.Limiter
	buffers sync.Pool
	now     atomic.Int64
	ended   [ends]atomic.Uint64
}

// New returns a discarder with those bounds.
func New(b Bounds) *Discarder {
	return &Discarder{
		bounds:  b,
		rate:    rate.NewLimiter(rate.Limit(b.Rate), bufferSize),
		buffers: sync.Pool{New: func() any { return new([bufferSize]byte) }},
	}
}

// Now is the number of uploads that are being discarded.
func (d *Discarder) Now() int64 { return d.now.Load() }

// Ended returns how many uploads have ended in that way.
func (d *Discarder) Ended(e End) uint64 { return d.ended[e].Load() }

// begin reports whether one more upload may be read. If so, done must follow.
func (d *Discarder) begin() bool {
	if d.now.Add(1) <= int64(d.bounds.Uploads) {
		return true
	}
	d.now.Add(-1)
	d.ended[TooMany].Add(1)
	return false
}

func (d *Discarder) done() { d.now.Add(-1) }

// source is the rest of an upload.
type source interface {
	io.Reader
	SetReadDeadline(time.Time) error
}

// read reads the rest of an upload for that long, and counts how it ended.
func (d *Discarder) read(rest source, longest time.Duration) {
	buf := d.buffers.Get().(*[bufferSize]byte)
	defer d.buffers.Put(buf)
	until, patience := time.Now().Add(longest), d.bounds.First
	for left := d.bounds.Size; left > 0; {
		n, end, ended := d.readOnce(rest, buf[:], until, patience)
		if ended {
			d.ended[end].Add(1)
			return
		}
		left -= int64(n)
		patience = d.bounds.Idle
	}
	d.ended[TooLarge].Add(1)
}

// readOnce reads the bytes that have arrived, or waits for some.
func (d *Discarder) readOnce(rest source, buf []byte, until time.Time, patience time.Duration) (n int, end End, ended bool) {
	now := time.Now()
	if !now.Before(until) {
		return 0, TooLong, true
	}
	if rest.SetReadDeadline(earlier(until, now.Add(patience))) != nil {
		return 0, Complete, true // the connection is closed
	}
	n, err := rest.Read(buf)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, TooLong, true
	case err != nil:
		return n, Complete, true
	}
	now = time.Now()
	wait := d.rate.ReserveN(now, n).DelayFrom(now)
	if now.Add(wait).After(until) {
		return n, TooLong, true
	}
	time.Sleep(wait)
	return n, 0, false
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
