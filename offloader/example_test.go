package offloader_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-offload/caddy-offload/offloader"
)

func ExamplePool_Do() {
	pool, err := offloader.New("reports", offloader.DefaultSettings())
	if err != nil {
		fmt.Println(err)
		return
	}
	err = pool.Do(context.Background(), func(context.Context) error {
		fmt.Println("rendering")
		return nil
	})
	fmt.Println(err, pool.Snapshot().Ended[offloader.Success])
	// Output:
	// rendering
	// <nil> 1
}

// Acquire is for callers that report more about a run than an error.
func ExamplePool_Acquire() {
	ctx := context.Background()
	settings := offloader.DefaultSettings()
	settings.Concurrency, settings.Queue = 1, 0
	pool, err := offloader.New("reports", settings)
	if err != nil {
		fmt.Println(err)
		return
	}
	permit, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = pool.Acquire(ctx) // another caller, meanwhile
	if rejected, ok := errors.AsType[*offloader.RejectedError](err); ok {
		fmt.Println(rejected)
		fmt.Println("retry after a second or more:", rejected.NextRetry().Turn >= time.Second)
	}
	permit.Release(offloader.Success)
	fmt.Println(pool.Snapshot().Running, "running")
	// Output:
	// pool 'reports' rejected: queue_full (all permits are taken and the queue is full)
	// retry after a second or more: true
	// 0 running
}
