package upstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// errCut ends a connection on request.
var errCut = errors.New("cut on request")

// report is the slow handler.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	k, err := parseKnobs(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.work(w, r, k) != nil {
		// A failing worker can only end the connection.
		panic(http.ErrAbortHandler)
	}
}

// work passes a report through backlog and worker, and counts it.
func (s *Server) work(w http.ResponseWriter, r *http.Request, k knobs) error {
	if err := s.workers.enter(r.Context()); err != nil {
		return err
	}
	s.counters.update(func(f *Stats) { f.InFlight++ })
	defer func() {
		s.workers.leave()
		s.counters.update(func(f *Stats) { f.InFlight-- })
	}()

	if err := s.workers.accept(); err != nil {
		return err
	}
	defer s.workers.done()
	s.counters.update(func(f *Stats) { f.Executions++ })
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if err := s.respond(w, k); err != nil {
		return err
	}
	s.counters.update(func(f *Stats) { f.Served++ })
	return nil
}

// respond writes one response. It does not notice that the client leaves before
// the first write, like a synchronous worker.
func (s *Server) respond(w http.ResponseWriter, k knobs) error {
	slow := s.workers.slowdown()
	if err := s.wait(k.delay, slow); err != nil {
		return err
	}
	if k.place == atHead {
		return s.fail(k.fault)
	}
	bodyless := k.status == http.StatusNoContent || k.status == http.StatusNotModified
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if k.trailers {
		h.Set("Trailer", "X-Report-Chunks")
	} else if k.chunks == 1 && !bodyless {
		h.Set("Content-Length", strconv.Itoa(k.size))
	}
	w.WriteHeader(k.status)
	if bodyless {
		return nil
	}
	if err := s.body(w, k, slow); err != nil {
		return err
	}
	h.Set("X-Report-Chunks", strconv.Itoa(k.chunks))
	return nil
}

// body writes the chunks, half of them before a fault. It flushes each chunk
// but the last, whose last line is sent when the handler has returned. So a
// client that has read the end of a response finds it in the figures.
func (s *Server) body(w http.ResponseWriter, k knobs, slow float64) error {
	chunks, left := k.chunks, k.size
	if k.place == atBody {
		chunks, left = (chunks+1)/2, left/2
	}
	kernel := http.NewResponseController(w)
	for i := range chunks {
		if i > 0 {
			if err := errors.Join(kernel.Flush(), s.wait(k.pause, slow)); err != nil {
				return err
			}
		}
		n := left / (chunks - i)
		left -= n
		if err := writeText(w, n); err != nil {
			return err
		}
	}
	if k.place != atBody {
		return nil
	}
	if err := kernel.Flush(); err != nil {
		return err
	}
	return s.fail(k.fault)
}

// fail carries out a fault: it ends the response at once, or blocks until the upstream is
// closed. It never returns nil.
func (s *Server) fail(fault string) error {
	if fault == hang {
		<-s.workers.quit
		return errClosed
	}
	return errCut
}

// wait waits for the service time, multiplied by slow.
func (s *Server) wait(d time.Duration, slow float64) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(time.Duration(float64(d) * slow))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.workers.quit:
		return errClosed
	}
}

// line is the text of reports.
const line = "All work and no rest makes a slow and boring report for you all\n"

var page = bytes.Repeat([]byte(line), 512)

// writeText writes n bytes of text. The last line is a separate write, so that
// it fits the buffer of the server: a large write would go to the kernel at
// once.
func writeText(w io.Writer, n int) error {
	for n > len(line) {
		m := min(n-len(line), len(page))
		if _, err := w.Write(page[:m]); err != nil {
			return err
		}
		n -= m
	}
	_, err := io.WriteString(w, line[len(line)-n:])
	return err
}
