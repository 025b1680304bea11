package crashtest

import (
	"github.com/caddy-offload/caddy-offload/offloader/jobs"
)

// checkCancelled fails the test if a job was run after its end as a cancelled one.
func (s *stage) checkCancelled(lines []line, stored map[jobs.ID]*jobs.Record) {
	s.Helper()
	over := make(map[jobs.ID]bool)
	for _, l := range lines {
		switch {
		case l.What == cancelled:
			over[l.ID] = true
			if r := stored[l.ID]; r == nil || r.State != jobs.Cancelled {
				s.Errorf("%s was cancelled, and is stored as %+v", l.ID.Short(), r)
			}
		case l.What == started && over[l.ID]:
			s.Errorf("boot %d: attempt %d of %s follows its end as a cancelled job", l.Boot, l.Attempt, l.ID.Short())
		}
	}
}

// checkHooks fails the test if a webhook was not delivered, or with several IDs.
func (s *stage) checkHooks(lines []line, stored map[jobs.ID]*jobs.Record) {
	s.Helper()
	messages := make(map[jobs.ID]string)
	for _, l := range lines {
		if l.What != delivered {
			continue
		}
		if before, ok := messages[l.ID]; ok && before != l.Note {
			s.Errorf("boot %d: the webhook of %s has the IDs %s and %s", l.Boot, l.ID.Short(), before, l.Note)
		}
		messages[l.ID] = l.Note
	}
	for _, r := range stored {
		if r.Hook == nil {
			continue
		}
		if _, ok := messages[r.ID]; !ok || r.Hook.State != jobs.HookDelivered {
			s.Errorf("the webhook of %s is %s", r.ID.Short(), r.Hook.State)
		}
	}
}
