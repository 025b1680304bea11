package caddymodule

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r rarely
		times := 0
		for range 35 { // the last at 3.4s
			if r.now() {
				times++
			}
			<-time.After(100 * time.Millisecond)
		}
		if times != 4 {
			t.Errorf("let through %d times", times)
		}
	})
}
