package hall

import (
	"context"

	"github.com/caddy-offload/caddy-offload/offloader"
)

// pool is the gate of this project.
type pool struct{ *offloader.Pool }

// Pool returns a new pool as a gate. Settings that are not valid panic.
func Pool(settings offloader.Settings) Gate {
	p, err := offloader.New("hall", settings)
	if err != nil {
		panic(err)
	}
	return pool{p}
}

func (p pool) Do(ctx context.Context, claim offloader.Claim, run func()) bool {
	ticket := offloader.Ticket{Pool: p.Pool, Claim: &claim}
	defer ticket.Forget()
	permit, err := ticket.Acquire(ctx)
	if err != nil {
		return false
	}
	run()
	permit.Release(offloader.Success)
	return true
}

func (p pool) Close() {
	_ = p.Pool.Close(context.Background()) // nothing is in flight
}
