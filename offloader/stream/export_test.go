package stream

// New returns an empty stream.
func New(o Options) *Stream {
	s := new(Stream)
	s.Init(o)
	return s
}

// NewReader joins a stream.
func (s *Stream) NewReader() *Reader {
	r := new(Reader)
	r.Join(s)
	return r
}

// Written returns the number of bytes so far.
func (s *Stream) Written() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written
}
