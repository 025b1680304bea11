package celery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

func TestRevoking(t *testing.T) {
	t.Parallel()
	play(t, "many ids go out in one command", celery.Settings{}, func(s *stage) {
		heard := s.listen()
		for _, id := range []string{"a", "b", "c"} {
			s.client.Revoke(id, false)
		}
		s.client.Revoke("d", true)
		<-time.After(time.Second)
		if got := strings.Join(heard(), ", "); got != "[d] true, [a,b,c] false" {
			t.Errorf("heard %s", got)
		}
	})
	play(t, "commands keep their distance", celery.Settings{RevokeEvery: time.Second}, func(s *stage) {
		heard := s.listen()
		for range 100 {
			s.client.Revoke("x", false)
			<-time.After(100 * time.Millisecond)
		}
		if n := len(heard()); n < 9 || n > 12 {
			t.Errorf("%d commands in 10 s", n)
		}
	})
	play(t, "a command holds so many ids and no more", celery.Settings{}, func(s *stage) {
		heard := s.listen()
		for i := range 2500 {
			s.client.Revoke(fmt.Sprint(i), false)
		}
		<-time.After(time.Second)
		if n := len(heard()); n != 3 {
			t.Errorf("%d commands", n)
		}
	})
	play(t, "closing sends what is left and takes no more", celery.Settings{}, func(s *stage) {
		heard := s.listen()
		s.client.Revoke("a", false)
		if err := s.client.Close(s.ctx); err != nil {
			t.Error(err)
		}
		s.client.Revoke("b", false)
		<-time.After(time.Second)
		if got := strings.Join(heard(), ", "); got != "[a] false" {
			t.Errorf("heard %s", got)
		}
	})
	play(t, "a flood is cut off", celery.Settings{RevokeEvery: time.Minute}, func(s *stage) {
		s.client.Revoke("a", false)
		<-time.After(time.Second)
		for range 30_000 {
			s.client.Revoke("a", false)
		}
		heard := s.listen()
		if err := s.client.Close(s.ctx); err != nil {
			t.Error(err)
		}
		if n := len(heard()); n != 20 {
			t.Errorf("%d commands", n)
		}
	})
}

func TestWhatBecomesOfATaskWhoseCallerLeft(t *testing.T) {
	t.Parallel()
	for policy, want := range map[celery.RevokePolicy]string{
		celery.RevokeOff:       "",
		celery.RevokeOn:        "[mine] false",
		celery.RevokeTerminate: "[mine] true",
	} {
		play(t, "policy "+fmt.Sprint(policy), celery.Settings{Revoke: policy}, func(s *stage) {
			heard := s.listen()
			ctx, cancel := context.WithTimeout(s.ctx, time.Second)
			defer cancel()
			_, err := s.client.Run(ctx, celery.Task{Name: "lab.echo", ID: "mine"}, nil)
			s.wantError(err, context.DeadlineExceeded)
			<-time.After(time.Second)
			if got := strings.Join(heard(), ", "); got != want {
				t.Errorf("heard '%s', want '%s'", got, want)
			}
		})
	}
	play(t, "one that has ended is not revoked", celery.Settings{Revoke: celery.RevokeOn}, func(s *stage) {
		heard := s.listen()
		call := s.start(celery.Task{Name: "lab.echo"})
		s.report(s.take(), celery.Success, "1")
		call.Abandon()
		<-time.After(time.Second)
		if got := heard(); len(got) != 0 {
			t.Errorf("heard %v", got)
		}
	})
}

// mute is a broker without any optional power.
type mute struct{ celery.Broker }

// broken is a broker that delivers no commands.
type broken struct{ *celerytest.Memory }

var errBroken = errors.New("broken")

func (broken) Broadcast(context.Context, celery.Command) (int, error) { return 0, errBroken }

func TestBrokersThatCannotRevoke(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := celerytest.NewMemory()
		client := celery.NewClient(mute{memory}, memory, celery.Settings{})
		client.Revoke("a", false)
		if err := client.Close(t.Context()); err != nil {
			t.Error(err)
		}
		client = celery.NewClient(broken{memory}, memory, celery.Settings{})
		client.Revoke("a", false)
		<-time.After(time.Second) // the command failed, and is not repeated
		client.Revoke("b", false)
		if err := client.Close(t.Context()); !errors.Is(err, errBroken) {
			t.Errorf("closing: %v", err)
		}
	})
}
