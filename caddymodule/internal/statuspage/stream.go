package statuspage

import (
	"context"
	"net/http"
	"time"
)

// writeTimeout is how long a viewer may take for one message. A slow viewer misses frames
// and gets the changes of all of them with the next one.
const writeTimeout = 30 * time.Second

// stream sends frames to a viewer until it leaves, or the page is closed.
func (p *Page) stream(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	if p.open.Err() != nil {
		return p.reject(w, http.StatusServiceUnavailable, "this configuration has ended: connect again")
	}
	v := viewOf(r.URL.Query())
	leave, err := p.hub.enter(v)
	if err != nil {
		return p.reject(w, http.StatusServiceUnavailable, err.Error())
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return nil
	}
	return send(ctx, w, p.hub, v)
}

// send writes one message for each frame. A message that follows frames which the viewer has
// missed has the changes of all of them.
func send(ctx context.Context, w http.ResponseWriter, hub *Hub, v view) error {
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }() // HTTP/3 has none
	_, err := w.Write([]byte("retry: 1000\n\n"))
	for seen := uint64(0); err == nil; {
		_ = control.Flush() // without one the message goes out with the next one
		f := hub.after(ctx, seen)
		if f == nil {
			return nil
		}
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err = w.Write(f.message(v, seen))
		seen = f.number
	}
	return nil // the viewer has left
}
