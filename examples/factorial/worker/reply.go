package worker

import "net/http"

// maxPieces is the largest number of pieces of one reply: the digits of MaxN!
// and one short piece at the end. With a channel of that size the loop never
// waits for a slow client, as with the send buffers of an async server.
const maxPieces = 1_000_000/pieceBytes + 2

// reply carries one response from the loop to the goroutine of the connection,
// which is the only user of the response writer.
type reply struct {
	pieces chan []byte   // closed by the loop: the response has ended
	gone   chan struct{} // closed by the connection's side: the reader has left

	// Written by the loop before its first piece, read after that piece.
	status int
	// Written by the loop before it closes pieces: the response is not
	// complete.
	cut bool
}

func newReply() *reply {
	return &reply{
		pieces: make(chan []byte, maxPieces),
		gone:   make(chan struct{}),
		status: http.StatusOK,
	}
}

// say makes text the complete response.
func (p *reply) say(status int, text string) {
	p.status = status
	p.pieces <- []byte(text)
}

// copyTo writes the response while the loop produces it.
func (p *reply) copyTo(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	flusher := http.NewResponseController(w)
	started := false
	for piece := range p.pieces {
		if !started {
			w.WriteHeader(p.status)
			started = true
		}
		_, err := w.Write(piece)
		if err == nil {
			err = flusher.Flush()
		}
		if err != nil {
			close(p.gone)
			return
		}
	}
	if p.cut {
		// The client must see a broken response, not a short number.
		panic(http.ErrAbortHandler)
	}
}
