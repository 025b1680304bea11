package requests

import "strconv"

// Sentences explains the current state of a request that has not ended.
func (v *View) Sentences() []string {
	e := new(Explanation)
	if v.Class != DefaultClass {
		e.Record.Claim.Class = v.Class
	}
	e.Record.Claim.Key, e.Record.Claim.Cost = v.Key, v.Cost
	s := &story{Explanation: e}
	switch v.Phase {
	case PhaseUploading:
		s.say("Its body has been read for %s, and it has neither a place nor a permit", length(v.InPhase))
	case PhaseWaiting:
		switch {
		case v.Aside:
			s.say("It has waited for %s, since key %s holds as many permits as `per_key` allows", length(v.InPhase), strconv.Quote(v.Key))
		case v.Position > 0:
			s.say("It has waited for %s, and is at place %d in the order of service", length(v.InPhase), v.Position)
		default:
			s.say("It is about to get a place or a permit")
		}
		if v.Held {
			s.say("The breaker has tripped, and requests wait for it to close")
		}
	case PhaseRunning:
		s.say("It has held a permit for %s", length(v.InPhase))
	case PhaseStreaming:
		s.say("Its run has ended, and its client has been receiving the rest for %s", length(v.InPhase))
	case PhaseUpgraded:
		s.say("Its connection was upgraded %s ago, and holds no permit", length(v.InPhase))
	}
	if v.Abandoned {
		s.say("No client waits for its answer: its permit comes back when the backend has ended")
	}
	s.sayClaim()
	return s.sentences
}
