package bridge

// end records that the run has ended; cut means that its body is not complete. It returns
// the channel that the helper closes, nil without a helper, and whether there is a stream
// to drain. cutShort is also true for a run that was killed.
func (s *state) end(cut bool) (helper <-chan struct{}, streams, cutShort bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	return s.helper, s.stream != nil, cut || s.dead != nil
}

// takesHeader reports whether fields that the run has set after the head, or without a
// head, are sent to the client.
func (s *state) takesHeader() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead == nil && s.answered == 0 && !s.lost && s.mode != discarded && s.mode != hijacked
}

// mayFlush reports whether the caller may flush a response that is cut short: no write has
// failed, and the run does not flush itself, as it cannot once it was killed.
func (s *state) mayFlush() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.failed && (s.stream != nil || (s.mode == direct && s.dead != nil))
}

// current returns where the body goes, and whether the run has ended.
func (s *state) current() (m mode, finished bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode, s.finished
}

// Complete reports whether the run has written as many bytes as it has declared.
func (s *state) Complete() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mode != spooled || s.limits.complete()
}

// Status returns the final status, zero before the head.
func (s *state) Status() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Lost reports whether the response could not be sent to its end: the client was too slow
// or has left, or Finish or Kill has cut it short. If the response has begun, the client
// must not take it for complete.
func (s *state) Lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost || s.mode == discarded || (s.dead != nil && s.status != 0)
}

// Broken reports whether writes of the run have failed because its client was too slow or
// has left.
func (s *state) Broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost && !s.finishes
}

// HeadPassedOn reports whether the client's writer has got a final head.
func (s *state) HeadPassedOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answered != 0 || (s.status != 0 && !s.left)
}

// Answered returns the status of the answer that AnswerStuck has written, zero if there is
// none.
func (s *state) Answered() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.answered)
}
