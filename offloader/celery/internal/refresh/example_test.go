package refresh_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader/celery/internal/refresh"
)

// A list of workers that grows with each reply. The caller looks for one worker, and does not
// wait for the rest of the list.
func ExampleCached() {
	group := refresh.NewGroup(errors.New("closed"))
	defer group.Close()

	lifetimes := refresh.Lifetimes{Fresh: 10 * time.Second, Stale: time.Minute, Retry: 2 * time.Second}
	workers := refresh.New(group, lifetimes, func(ctx context.Context, publish func([]string)) error {
		publish([]string{"a"})
		publish([]string{"a", "b"})
		<-ctx.Done() // a third worker that never replies; a real fetch has a time limit
		return ctx.Err()
	})

	all, err := workers.Get(context.Background(), func(all []string) bool { return slices.Contains(all, "b") })
	fmt.Println(all, err)
	// Output: [a b] <nil>
}
