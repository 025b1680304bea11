package celery_test

import (
	"context"
	"fmt"

	"github.com/caddy-offload/caddy-offload/internal/testkit/celerytest"
	"github.com/caddy-offload/caddy-offload/offloader/celery"
)

// A task is called and its progress shown while it runs. Here the broker, the
// backend and the worker are in memory; otherwise the first two come from the
// packages celeryredis and celeryamqp.
func ExampleClient_Run() {
	memory := celerytest.NewMemory()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	halfWay, shown := make(chan *celery.Message), make(chan struct{})
	go func() {
		task, err := memory.Take(ctx, celery.DefaultQueue)
		if err != nil {
			return
		}
		_ = memory.Report(ctx, task, celerytest.State(task.CorrelationID, "PROGRESS", `{"percent": 50}`))
		halfWay <- task
	}()
	go func() {
		task := <-halfWay
		<-shown
		_ = memory.Report(ctx, task, celerytest.Succeed(task, `"report.pdf"`))
	}()

	client := celery.NewClient(memory, memory, celery.Settings{})
	task := celery.Task{Name: "reports.render", Args: []any{42}}
	result, err := client.Run(ctx, task, func(state celery.Result) {
		fmt.Printf("%s %s\n", state.State, state.Value)
		close(shown)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s %s\n", result.State, result.Value)
	// Output:
	// PROGRESS {"percent": 50}
	// SUCCESS "report.pdf"
}
