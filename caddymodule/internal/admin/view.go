package admin

import "github.com/caddy-offload/caddy-offload/offloader"

func pressureOf(n offloader.Gauges) pressure {
	return pressure{n.Running, n.Limit, n.Waiting, n.QueueLimit, n.Breaker.String()}
}
