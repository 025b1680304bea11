// Package peers compares how fairly this project and others share permits between clients,
// in virtual time. The code of Kubernetes' API Priority and Fairness is the real one. It needs
// many modules, so this is a module that the others do not need.
//
// testing/synctest works in tests only, so the program is a test. In this folder:
//
//	go test -count 1 -timeout 30m -v -args -histories 10 -keep ../results/apf.txt
package peers

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing"
	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/eventclock"
	"k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/queueset"
	"k8s.io/apiserver/pkg/util/flowcontrol/metrics"
	"k8s.io/apiserver/pkg/util/flowcontrol/request"

	"github.com/caddy-offload/caddy-offload/bench/internal/hall"
	"github.com/caddy-offload/caddy-offload/offloader"
)

// Queues of a priority level, as Kubernetes' API has them by default.
const (
	queues      = 64
	handSize    = 8
	queueLength = 50
)

// apf is a priority level of Kubernetes.
type apf struct {
	set     fairqueuing.QueueSet
	schema  string // name of the flow schema: another one gives keys other queues
	maxWait time.Duration
}

// newAPF returns a priority level with so many seats.
func newAPF(seats int, maxWait time.Duration, schema string) hall.Gate {
	queuing := fairqueuing.QueuingConfig{Name: "level", DesiredNumQueues: queues, HandSize: handSize, QueueLengthLimit: queueLength}
	pair := metrics.RatioedGaugePair{RequestsWaiting: gauge{}, RequestsExecuting: gauge{}}
	completer, err := queueset.NewQueueSetFactory(eventclock.Real{}).BeginConstruction(queuing, pair, gauge{}, gauge{})
	if err != nil {
		panic(err)
	}
	set := completer.Complete(fairqueuing.DispatchingConfig{ConcurrencyLimit: seats, ConcurrencyDenominator: seats})
	return &apf{set: set, schema: schema, maxWait: maxWait}
}

// Do handles a request as the filter of the API server does.
func (a *apf) Do(ctx context.Context, claim offloader.Claim, run func()) (served bool) {
	ctx, cancel := context.WithTimeout(ctx, a.maxWait)
	defer cancel()
	work := request.WorkEstimate{InitialSeats: 1}
	r, _ := a.set.StartRequest(ctx, &work, a.flow(claim.Key), claim.Key, a.schema, nil, nil, nil)
	if r == nil {
		return false
	}
	r.Finish(func() {
		served = true
		run()
	})
	return served
}

// flow is the hash of a flow, as the API server computes it.
func (a *apf) flow(key string) uint64 {
	sum := sha256.Sum256([]byte(a.schema + "\x00" + key))
	return binary.LittleEndian.Uint64(sum[:8])
}

// Close has nothing to end.
func (*apf) Close() {}

// gauge is a gauge that forgets.
type gauge struct{}

func (gauge) Set(float64)            {}
func (gauge) Inc()                   {}
func (gauge) Dec()                   {}
func (gauge) Add(float64)            {}
func (gauge) SetToCurrentTime()      {}
func (gauge) SetDenominator(float64) {}
